"""`run` for one statement, the engine, the start and the end. No statements."""

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
from contextvars import ContextVar
from typing import Any

import psycopg
from dotenv import find_dotenv, load_dotenv
from psycopg.pq import TransactionStatus
from sqlalchemy import Executable, Row, event, exc, inspect
from sqlalchemy.engine import URL, Connection, make_url
from sqlmodel import SQLModel, create_engine

POOL_SIZE = 10  # connections a process, and as many threads
TIMEOUT = 10  # seconds until a statement without an answer is given up
CANCEL_TIMEOUT = 2  # seconds more to tell the server so

# uvicorn shows what is logged to its own loggers only.
logger = logging.getLogger("uvicorn.error")

threads = ThreadPoolExecutor(POOL_SIZE, "database")
# Set by `run` for its thread. In other threads each statement has TIMEOUT.
deadline: ContextVar[float] = ContextVar("deadline")  # by time.monotonic()


async def run(statement: Executable, /, **values: Any) -> Sequence[Row[Any]]:
    """Run one statement as a transaction of its own, and return its rows.

    The statement is given up after TIMEOUT, whatever it waits for: a thread, a
    connection or the answer. That raises SQLAlchemy's OperationalError or
    TimeoutError, as does a database that is away: nothing is carried out then.
    """
    give_up_at = time.monotonic() + TIMEOUT

    def execute() -> Sequence[Row[Any]]:
        if time.monotonic() > give_up_at:
            raise exc.TimeoutError(f"no thread in {TIMEOUT} s")
        deadline.set(give_up_at)
        with autocommit.connect() as connection:
            result = connection.execute(statement, values)
            return result.all() if result.returns_rows else []

    # For what no driver bounds: a host with several addresses that are deaf.
    # SQLite bounds everything, but may write after it has waited for a lock.
    limit = None if is_sqlite else TIMEOUT + CANCEL_TIMEOUT + 0.5
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            return await loop.run_in_executor(threads, execute)
    except TimeoutError:
        raise exc.TimeoutError(f"no connection in {limit} s") from None


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up a statement, and itself, at the deadline."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: Any = None) -> Any:
        """Send what there is to send and wait for the answer, until the deadline.

        After the deadline nothing is sent. Raises psycopg.OperationalError.
        """
        now = time.monotonic()
        left = deadline.get(now + TIMEOUT) - now
        if left > 0:
            try:
                return super().wait(gen, interval, left)
            except psycopg.OperationalError:
                if self.info.transaction_status != TransactionStatus.ACTIVE:
                    raise  # the connection was lost while time was left
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=CANCEL_TIMEOUT)
                    return super().wait(gen, interval, 0)  # it may have come
        # At once: PgBouncer drops the cancel of a statement that it has queued,
        # and would begin the statement while the connection lasts.
        self.close()
        raise psycopg.OperationalError(f"no answer in {TIMEOUT} s")


class StartError(Exception):
    """Why the service cannot start, in one sentence.

    After exit code 1 `uvicorn --workers` starts a worker again, after 3 it ends.
    """

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def read_url() -> URL:
    """Return the URL in NEON_DATABASE_URL, which may stand in .env.

    Raises ArgumentError, OSError or ValueError, which may quote the password.
    """
    load_dotenv(encoding="utf-8-sig")  # Windows may write a byte order mark
    raw = os.environ.get("NEON_DATABASE_URL")
    if raw is None:
        where = ", not even in .env" if find_dotenv() else ""
        logger.warning(f"NEON_DATABASE_URL is not set{where}: using ./todos.db")
        raw = "sqlite:///./todos.db"
    if raw.count("@") > 1:  # the end of the password would be logged as the host
        raise ValueError("an @ in the password")
    url = make_url(raw)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ValueError("another kind of database")
    if not url.database or ":memory:" in url.database:
        raise ValueError("no name of a database")
    url.get_dialect()().create_connect_args(url)  # raises for ?timeout=abc
    return url


try:
    url = read_url()
except (exc.ArgumentError, OSError, ValueError):
    logger.critical(
        "NEON_DATABASE_URL must be postgresql://user:password@host/database "
        "or sqlite:///file, with %40 for @, and .env in UTF-8"
    )
    raise SystemExit(3) from None

is_sqlite = url.drivername == "sqlite"
postgresql_args = {
    "client_encoding": "utf8",  # whatever the URL or the database says
    "prepare_threshold": None,  # PgBouncer < 1.22 loses prepared statements
    "connect_timeout": TIMEOUT,
    "tcp_user_timeout": TIMEOUT * 1000,  # Linux waits a quarter of an hour
}
# How moments are written, whatever the database says. libpq reads these two
# variables and PgBouncer passes them on, which it does not do for `options`.
os.environ["PGDATESTYLE"] = "ISO"
os.environ["PGTZ"] = "UTC"

# `autocommit` and `engine` are one pool, seen in two ways.
# For one statement, a transaction of its own without BEGIN and COMMIT:
autocommit = create_engine(
    url,
    # As an execution option, like below, it would cost a tenth of a retrieve.
    isolation_level="AUTOCOMMIT",
    skip_autocommit_rollback=True,
    pool_size=POOL_SIZE,
    max_overflow=0,
    pool_timeout=TIMEOUT,
    hide_parameters=True,
    connect_args={} if is_sqlite else postgresql_args,
)
# For several, `with engine.begin() as connection:` in a plain def endpoint:
engine = autocommit.execution_options(
    isolation_level="SERIALIZABLE" if is_sqlite else "READ COMMITTED"
)


def set_pragmas(connection: Any, _: Any) -> None:
    """Make SQLite enforce foreign keys, and let it read while it writes."""
    connection.execute("PRAGMA foreign_keys = ON")
    # The mode is the file's. Two processes that set it at once both fail.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")


def open_bounded(_: Any, __: Any, args: Any, options: Any) -> BoundedConnection:
    """Open a connection for the pool."""
    return BoundedConnection.connect(*args, **options)


# epoll and kqueue need a file descriptor of their own, when none may be left.
Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


def replace_closed(connection: Any, record: Any, _: Any) -> None:
    """Have the pool replace a connection that the server has closed.

    Neon does so after five idle minutes. Unlike a ping, this sends nothing.
    """
    if "used" not in record.info:  # SQLAlchemy does not replace a new one again
        record.info["used"] = True
        return
    with Selector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        # An idle connection with anything to read has been closed.
        if selector.select(0):
            raise exc.DisconnectionError


def keep_the_others(context: Any) -> None:
    """Lose one connection and not the whole pool; `replace_closed` sees to it."""
    context.invalidate_pool_on_disconnect = False


if is_sqlite:
    event.listen(engine, "connect", set_pragmas)
else:
    event.listen(engine, "do_connect", open_bounded)
    event.listen(engine, "checkout", replace_closed)
    event.listen(engine, "handle_error", keep_the_others)


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Create the tables at the start, close the connections at the end."""
    try:
        create_tables()
    except StartError as error:
        logger.critical(error)
        # Of an exception Starlette logs the traceback, and uvicorn makes code 3.
        # TestClient wants it: it runs the app in a thread of its own.
        if threading.current_thread() is threading.main_thread():
            os._exit(error.exit_code)
        raise
    yield
    engine.dispose()


START_LOCK = 8000  # a number that nothing else locks in this database


def create_tables() -> None:
    """Create the missing tables, one process at a time. Raises StartError."""
    try:
        with engine.begin() as connection:
            if is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                place = url.database
            else:
                lock = f"SELECT pg_advisory_xact_lock({START_LOCK})"
                connection.exec_driver_sql(lock)
                check_encoding(connection)
                driver: Any = connection.connection.driver_connection
                place = f"{driver.info.dbname} on {driver.info.host}"
            SQLModel.metadata.create_all(connection)
            check_columns(connection)
    except (exc.SQLAlchemyError, AttributeError, TypeError, ValueError) as error:
        # The last three are psycopg's, for a malformed host or option.
        why = reason(error)
        code = 1 if isinstance(error, exc.OperationalError) else 3
        if "invalid" in why:  # libpq's, for the value of an option
            code = 3
        raise StartError(f"NEON_DATABASE_URL: cannot be used: {why}", code) from None
    logger.info(f"Using {engine.name} database {place}")


def check_encoding(connection: Connection) -> None:
    """Raise StartError if the database cannot store every character."""
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding not in ("UTF8", "SQL_ASCII"):
        sentence = f"NEON_DATABASE_URL: its encoding is {encoding}, not UTF8"
        raise StartError(sentence, 3)


def check_columns(connection: Connection) -> None:
    """Raise StartError if a table that was there before lacks a column."""
    for table in SQLModel.metadata.sorted_tables:
        found = inspect(connection).get_columns(table.name)
        names = [column["name"] for column in found]
        for column in table.columns:
            if column.name not in names:
                missing = f"{table.name} has no column {column.name}"
                way_out = "run ALTER TABLE, or, for SQLite, delete the file"
                raise StartError(f"NEON_DATABASE_URL: {missing}: {way_out}", 3)


def reason(error: Exception) -> str:
    """Say in one line what failed, without the server's address or a value."""
    if isinstance(error, exc.DataError):
        return type(error.orig).__name__  # its words quote the value
    words = str(error)
    if isinstance(error, exc.DBAPIError):
        words = str(error.orig)
    first_line = words.splitlines()[0]  # PostgreSQL's DETAIL follows, with a value
    # connection to server at "10.0.0.1", port 5432 failed: Connection refused
    address = r"^(connection .* failed|failed to resolve .*'): "
    return re.sub(address, "", first_line)
