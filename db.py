"""The engine, `run`, and what is done at the start and the end. No statements."""

import asyncio
import logging
import os
import re
import selectors
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from socket import AF_INET, SHUT_RDWR, SOCK_STREAM, fromfd
from typing import Any, NoReturn

import psycopg
from dotenv import find_dotenv, load_dotenv
from sqlalchemy import URL, Executable, Row, event, exc, inspect, make_url
from sqlmodel import SQLModel, create_engine

POOL_SIZE = 10  # connections a process, and as many threads
TIMEOUT = 10  # seconds until a database that does not answer is given up
GONE = (psycopg.Error, OSError)  # what a connection raises that has ended

# uvicorn shows what is logged to its own loggers only.
logger = logging.getLogger("uvicorn.error")


def stop(code: int, message: str) -> NoReturn:
    """End the start. After code 1 uvicorn starts a worker again, after 3 it does not."""
    logger.critical(message)
    raise SystemExit(code)


def database_url() -> URL:
    """Read NEON_DATABASE_URL from the environment or .env; without it, SQLite."""
    with suppress(exc.ArgumentError, OSError, ValueError):  # may quote the password
        load_dotenv(encoding="utf-8-sig")  # PowerShell's > writes UTF-16
        raw = os.environ.get("NEON_DATABASE_URL", "sqlite:///./todos.db")
        if "NEON_DATABASE_URL" not in os.environ:
            why = ", not even in .env" if find_dotenv() else ""
            logger.warning(f"NEON_DATABASE_URL is not set{why}: using ./todos.db")
        url = make_url(raw)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        # Behind a second @ stands the end of a password that holds the first.
        named = url.database and ":memory:" not in url.database and raw.count("@") < 2
        if named and url.drivername in ("sqlite", "postgresql+psycopg"):
            url.get_dialect()().create_connect_args(url)  # raises for ?timeout=abc
            return url
    wanted = "postgresql://user:password@host/database or sqlite:///file"
    stop(3, f"NEON_DATABASE_URL must be {wanted}, with %40 for @, and .env in UTF-8")


url = database_url()
is_sqlite = url.drivername == "sqlite"
postgresql_args = {
    "client_encoding": "utf8",  # whatever the URL or the database says
    "prepare_threshold": None,  # PgBouncer before 1.22 loses prepared statements
    "connect_timeout": TIMEOUT,
    "tcp_user_timeout": TIMEOUT * 1000,  # else Linux waits a quarter of an hour
}
# For single statements: each is its own transaction, with no BEGIN and COMMIT around it.
# The pool's own setting, since one that `engine` derives costs a tenth of a retrieve.
autocommit = create_engine(
    url,
    isolation_level="AUTOCOMMIT",
    pool_size=POOL_SIZE,
    max_overflow=0,
    pool_timeout=TIMEOUT,
    hide_parameters=True,
    connect_args={} if is_sqlite else postgresql_args,
)
# For several statements in one transaction: `with engine.begin()` in a plain def endpoint.
default = "SERIALIZABLE" if is_sqlite else "READ COMMITTED"
engine = autocommit.execution_options(isolation_level=default)
threads = ThreadPoolExecutor(POOL_SIZE, "database")  # none waits for a connection


async def run(statement: Executable, /, **values: Any) -> Sequence[Row[Any]]:
    """Run one statement in a worker thread, as a transaction of its own.

    Raises SQLAlchemy's errors, and TimeoutError when it is given up after TIMEOUT.
    """
    held: list[Any] = []  # the driver's connection that the statement is on
    done = threading.Event()
    given_up = False

    def execute() -> Sequence[Row[Any]]:
        with autocommit.connect() as connection:
            held.append(connection.connection.driver_connection)
            try:
                if given_up:
                    raise TimeoutError
                result = connection.execute(statement, values)
                return result.all() if result.returns_rows else []
            finally:
                done.set()
                if given_up:  # a cancel may be on its way
                    connection.invalidate()

    def cut(driver: Any) -> None:
        with suppress(*GONE), fromfd(driver.fileno(), AF_INET, SOCK_STREAM) as end:
            with suppress(psycopg.Error):
                until = time.monotonic() + 2
                while True:  # PgBouncer drops the cancel of what it has queued
                    driver.cancel_safe(timeout=1)
                    if time.monotonic() > until or done.wait(0.1):
                        break
            end.shutdown(SHUT_RDWR)

    try:
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.get_running_loop().run_in_executor(threads, execute)
    except (TimeoutError, asyncio.CancelledError):
        given_up = True
        if held and not done.is_set() and not is_sqlite:
            threading.Thread(target=cut, args=held).start()
        raise


def on_connect(connection: Any, _: Any) -> None:
    """Make SQLite enforce foreign keys, and let it read while it writes."""
    connection.execute("PRAGMA foreign_keys = ON")
    # Two processes that change a file to WAL at once both fail; the mode is the file's.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")


def on_checkout(connection: Any, record: Any, _: Any) -> None:
    """Replace a connection that the server has closed: Neon does after five idle minutes."""
    # Only then has an idle one something to read. No round trip, unlike a ping.
    if "used" in record.info:  # SQLAlchemy gives up where a new one is refused as well
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            if selector.select(0):
                raise exc.DisconnectionError
    record.info["used"] = True


listener = ("connect", on_connect) if is_sqlite else ("checkout", on_checkout)
event.listen(engine, *listener)


def create_tables() -> None:
    """Create the missing tables, one process at a time; exit if that cannot be done."""
    lock = "SET LOCAL lock_timeout = '10s'; SELECT pg_advisory_xact_lock(8000)"
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else lock)
            SQLModel.metadata.create_all(connection)
            for table in SQLModel.metadata.sorted_tables:
                columns = inspect(connection).get_columns(table.name)
                for name in set(table.columns.keys()) - {c["name"] for c in columns}:
                    way_out = "run ALTER TABLE, or, for SQLite, delete the file"
                    raise ValueError(f"{table.name} has no column {name}: {way_out}")
            driver: Any = connection.connection.driver_connection
    except (exc.SQLAlchemyError, AttributeError, TypeError, ValueError) as error:
        why = reason(error)
        # libpq refuses an option with the same error as a server that is away.
        away = isinstance(error, exc.OperationalError) and "invalid" not in why
        stop(1 if away else 3, f"NEON_DATABASE_URL: the database cannot be used: {why}")
    place = url.database if is_sqlite else f"{driver.info.dbname} on {driver.info.host}"
    logger.info(f"Using {engine.name} database {place}")


def reason(error: Exception) -> str:
    """Say in one line what failed, without the server's address and without a value."""
    words = str(getattr(error, "orig", error)) or f"no answer in {TIMEOUT} s"
    if isinstance(error, exc.DataError):  # whose words quote the value
        words = type(error.orig).__name__
    # connection to server at "10.0.0.1", port 5432 failed: Connection refused
    address = r"^(connection .* failed|failed to resolve .*'): "
    return re.sub(address, "", words.splitlines()[0])


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Close the connections at the end."""
    yield
    engine.dispose()
