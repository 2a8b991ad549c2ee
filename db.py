"""The engine for NEON_DATABASE_URL, `run` for one statement, and the start."""

import asyncio
import logging
import os
import selectors
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from dotenv import load_dotenv
from sqlalchemy import URL, Connection, Executable, Row, event, exc, inspect, make_url
from sqlmodel import SQLModel, create_engine

POOL_SIZE = 10  # connections per process, and as many threads
TIMEOUT = 10  # seconds to wait for a connection, and for an answer

logger = logging.getLogger("uvicorn.error")  # uvicorn shows its INFO lines


def read_url() -> URL:
    """Return the URL in NEON_DATABASE_URL, of the environment or else of .env.

    Raises ArgumentError, OSError or ValueError, whose words may hold the password.
    """
    if "NEON_DATABASE_URL" not in os.environ:
        load_dotenv(Path(__file__).with_name(".env"), interpolate=False)
    value = os.environ.get("NEON_DATABASE_URL", "sqlite:///./todos.db")
    url = make_url(value.strip())
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ValueError("another kind of database")
    if not url.database:
        raise ValueError("no name of a database")
    # In memory each connection would have a database of its own.
    if ":memory:" in url.database or url.query.get("mode") == "memory":
        raise ValueError("a SQLite database in memory")
    # What follows an @ in a password is taken for the host, and would be logged.
    if url.drivername != "sqlite" and "@" in f"{url.host}/{url.database}":
        raise ValueError("an @ in the password")
    url.get_dialect()().create_connect_args(url)  # raises for ?timeout=abc
    return url


try:
    url = read_url()
except (exc.ArgumentError, OSError, ValueError):
    logger.critical(
        "NEON_DATABASE_URL must be postgresql://user:password@host/database "
        "or sqlite:///file, with %40 for @ in the password, and .env in UTF-8"
    )
    raise SystemExit(3) from None

is_sqlite = url.drivername == "sqlite"
connect_args: dict[str, Any] = {
    "client_encoding": "utf8",  # whatever the URL or the database says
    "prepare_threshold": None,  # PgBouncer before 1.22 loses prepared statements
    "connect_timeout": TIMEOUT,
    # Linux would go on for 15 minutes, and deliver what was given up.
    "tcp_user_timeout": TIMEOUT * 1000,
}
if is_sqlite:
    connect_args = {} if "timeout" in url.query else {"timeout": TIMEOUT}
# Moments read the same whatever the database says. libpq sends these two, and
# PgBouncer passes them on, unlike `options`.
os.environ["PGDATESTYLE"] = "ISO"
os.environ["PGTZ"] = "UTC"

# For `run` alone: each statement is a transaction, without BEGIN and COMMIT.
autocommit_engine = create_engine(
    url,
    isolation_level="AUTOCOMMIT",  # an execution option would cost more
    skip_autocommit_rollback=True,  # there is nothing to roll back
    pool_size=POOL_SIZE,
    max_overflow=0,
    pool_timeout=TIMEOUT,
    hide_parameters=True,
    connect_args=connect_args,
)
# For several statements in one transaction, on the same pool: write
# `with engine.begin() as connection:`, which commits at its end, in a plain
# def endpoint. In an async def it would block all other requests. On SQLite
# the transaction begins with its first INSERT, UPDATE or DELETE.
engine = autocommit_engine.execution_options(
    isolation_level="SERIALIZABLE" if is_sqlite else "READ COMMITTED"
)

# Drivers block, so statements run in threads, as many as connections.
threads = ThreadPoolExecutor(POOL_SIZE, thread_name_prefix="database")


async def run(statement: Executable) -> Sequence[Row[Any]]:
    """Run one statement as a transaction of its own, and return its rows.

    If its thread comes later than TIMEOUT, it is not begun. Raises SQLAlchemy's
    errors; `is_unavailable` tells which of them are the database's.
    """
    asked_at = time.monotonic()

    def execute() -> Sequence[Row[Any]]:
        if time.monotonic() - asked_at > TIMEOUT:
            raise exc.TimeoutError(f"no thread in {TIMEOUT} s")
        with autocommit_engine.connect() as connection:
            result = connection.execute(statement)
            return result.all() if result.returns_rows else []

    return await asyncio.get_running_loop().run_in_executor(threads, execute)


SQLITE_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


def is_unavailable(error: exc.SQLAlchemyError) -> bool:
    """Tell whether an error means that the database is away, slow or takes no more."""
    if isinstance(error, exc.TimeoutError):
        return True  # no thread, or no connection
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)  # Python's own errors have none
        return code & 0xFF in SQLITE_UNAVAILABLE  # the low byte: 517 is BUSY too
    read_only = psycopg.errors.ReadOnlySqlTransaction
    return isinstance(cause, psycopg.OperationalError | read_only)


def reason(error: Exception) -> str:
    """Return in one line what failed, without a value of a row."""
    cause = getattr(error, "orig", error)
    if isinstance(error, exc.DataError):
        return type(cause).__name__  # its words quote the value
    return str(cause).partition("\n")[0]  # PostgreSQL's DETAIL quotes the row


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits at most TIMEOUT for the answer to a statement."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: Any = None) -> Any:
        """Wait for the answer that `gen` reads; after TIMEOUT cancel the statement.

        It is then not carried out, unless the server could not be told, was slow
        in a commit that had begun, or PgBouncer took it up at that very moment.
        `timeout` is not heeded. Raises psycopg.OperationalError.
        """
        try:
            return super().wait(gen, interval, TIMEOUT)
        except psycopg.OperationalError:
            if self.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                raise  # the server or the network failed: nothing is running now
        try:
            self.cancel_safe(timeout=2)
            # The server's word comes a moment later. If the statement succeeded
            # before it was cancelled, that counts.
            return super().wait(gen, interval, 0.1)
        except psycopg.errors.QueryCanceled:
            pass  # the connection can be used again
        except psycopg.Error:
            # PgBouncer drops the cancel of a statement in its queue, and would
            # begin the statement later if this connection still stood.
            self.close()
        raise psycopg.OperationalError(f"no answer in {TIMEOUT} s")


def open_connection(_: Any, __: Any, args: Any, options: Any) -> BoundedConnection:
    """Open a connection for the pool, in place of SQLAlchemy."""
    return BoundedConnection.connect(*args, **options)


# A poll object, where the platform has one, takes less time than epoll.
Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


def replace_closed(connection: Any, record: Any, _: Any) -> None:
    """Have the pool replace a connection that the server has closed.

    Neon closes idle connections after five minutes. Unlike a ping, this sends nothing.
    """
    if "seen" not in record.info:  # it was just opened
        record.info["seen"] = True
        return  # a second DisconnectionError in a row would be a 500
    with Selector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        # An idle connection with anything to read is closed, or about to be.
        if selector.select(0):
            raise exc.DisconnectionError


def set_pragmas(connection: Any, _: Any) -> None:
    """Make SQLite enforce foreign keys, and read while it writes."""
    connection.execute("PRAGMA foreign_keys = ON")
    # The mode is the file's. Of two that set it at once one may fail.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")


if is_sqlite:
    event.listen(autocommit_engine, "connect", set_pragmas)
else:
    event.listen(autocommit_engine, "do_connect", open_connection)
    event.listen(autocommit_engine, "checkout", replace_closed)


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Create the tables at the start, close the connections at the end."""
    try:
        create_tables()
    except (exc.StatementError, ValueError) as error:  # ValueError: a host a..b
        sentence = f"NEON_DATABASE_URL cannot be used: {reason(error)}"
        raise RuntimeError(sentence) from None
    yield
    engine.dispose()


def create_tables() -> None:
    """Create the missing tables and check the others, one process at a time."""
    with engine.begin() as connection:
        if is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            place = url.database
        else:
            # The number is any that nothing else locks in this database.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(8000)")
            driver: Any = connection.connection.driver_connection
            place = f"{driver.info.dbname} on {driver.info.host}"
        SQLModel.metadata.create_all(connection)
        check_columns(connection)
    logger.info("Using %s database %s", engine.name, place)


def check_columns(connection: Connection) -> None:
    """Raise RuntimeError if a table that was there before lacks a column."""
    for table in SQLModel.metadata.sorted_tables:
        found = inspect(connection).get_columns(table.name)
        missing = set(table.columns.keys()) - {column["name"] for column in found}
        if missing:
            raise RuntimeError(
                f"the table {table.name} has no column {missing.pop()}: run ALTER TABLE"
            )
