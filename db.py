"""`run` for one statement, the engine, start and end. No statements on todos."""

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
from typing import Any

import psycopg
from dotenv import find_dotenv, load_dotenv
from psycopg.pq import TransactionStatus
from sqlalchemy import Executable, Row, event, exc, inspect
from sqlalchemy.engine import URL, Connection, make_url
from sqlmodel import SQLModel, create_engine

POOL_SIZE = 10  # connections per process, and as many threads
TIMEOUT = 10  # seconds until a statement without an answer is given up
CANCEL_TIMEOUT = 2  # seconds more to cancel it in the server
ROUND_TRIP_TIME = 0.1  # seconds allowed for a message and its answer

# uvicorn shows the INFO lines of its own loggers only.
logger = logging.getLogger("uvicorn.error")

# psycopg and sqlite3 block, so statements run in threads of their own. In
# these `this_thread.deadline` says when to give up, by time.monotonic().
threads = ThreadPoolExecutor(POOL_SIZE, thread_name_prefix="database")
this_thread = threading.local()


async def run(statement: Executable, /, **values: Any) -> Sequence[Row[Any]]:
    """Run one statement as a transaction of its own, and return its rows.

    On PostgreSQL the statement is given up after TIMEOUT, whatever it waits for:
    a thread, a connection or the answer. To cancel it takes up to CANCEL_TIMEOUT
    more. It is not carried out later, unless the cancel did not arrive, or a
    pooler was beginning it at that very moment.

    On SQLite it is given up if it gets no lock in 5 s, or the ?timeout= of the
    URL, or its thread only after TIMEOUT.

    Raises SQLAlchemy's errors: OperationalError or TimeoutError when the
    statement is given up or the database is away.
    """
    deadline = time.monotonic() + TIMEOUT

    def execute() -> Sequence[Row[Any]]:
        if time.monotonic() > deadline:
            raise exc.TimeoutError(f"no thread in {TIMEOUT} s")
        this_thread.deadline = deadline
        with autocommit.connect() as connection:
            result = connection.execute(statement, values)
            return result.all() if result.returns_rows else []

    # The thread itself gives up first. The limit is for what psycopg does not
    # bound: a host whose name is not resolved, or has several addresses, all
    # of them deaf. None on SQLite, which may still write after its wait for a
    # lock: a 503 would be untrue.
    limit = None if is_sqlite else TIMEOUT + CANCEL_TIMEOUT + 0.5
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            return await loop.run_in_executor(threads, execute)
    except TimeoutError:  # the built-in one, of asyncio.timeout
        raise exc.TimeoutError(f"no thread or connection in {limit} s") from None


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that cancels a statement at the deadline, and then closes."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: Any = None) -> Any:
        """Send what `gen` has to send, and wait for the answer until the deadline.

        Outside of `run`, say in engine.begin(), each statement has a TIMEOUT of
        its own. `timeout` is not heeded. Raises psycopg.OperationalError.
        """
        now = time.monotonic()
        deadline = getattr(this_thread, "deadline", now + TIMEOUT)
        left = deadline - now
        # A statement sent with less time left might arrive after its own
        # cancel, which takes another connection, and would run on.
        if left > ROUND_TRIP_TIME:
            try:
                return super().wait(gen, interval, left)
            except psycopg.OperationalError:
                if self.info.transaction_status != TransactionStatus.ACTIVE:
                    raise  # an error of the server, or the connection was lost
            # Suppressed: it was cancelled, or no file descriptor is left.
            with suppress(psycopg.Error, OSError):
                self.cancel_safe(timeout=CANCEL_TIMEOUT)
                # If it succeeded before it was cancelled, that counts.
                return super().wait(gen, interval, ROUND_TRIP_TIME)
        # PgBouncer drops the cancel of a statement that it has queued, and
        # would begin the statement later if this connection still stood.
        self.close()
        raise psycopg.OperationalError(f"no answer in {TIMEOUT} s")


class StartError(Exception):
    """Why the service cannot start, in one sentence.

    After exit code 1 `uvicorn --workers` starts the worker again; after 3
    uvicorn itself ends.
    """

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def read_url() -> URL:
    """Return the URL in NEON_DATABASE_URL, which may be set in .env.

    Raises ArgumentError, OSError or ValueError, which may quote the password.
    """
    load_dotenv(encoding="utf-8-sig")  # Windows may write a byte order mark
    raw = os.environ.get("NEON_DATABASE_URL")
    if raw is None:
        hint = ", not even in .env" if find_dotenv() else ""
        logger.warning(f"NEON_DATABASE_URL is not set{hint}: using ./todos.db")
        raw = "sqlite:///./todos.db"
    # The end of such a password would be taken for the host, and logged.
    if raw.count("@") > 1:
        raise ValueError("an @ in the password")
    url = make_url(raw)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ValueError("another kind of database")
    if not url.database:
        raise ValueError("no name of a database")
    # In memory each connection would have a database of its own.
    if ":memory:" in url.database or url.query.get("mode") == "memory":
        raise ValueError("a SQLite database in memory")
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
    # Linux would repeat it for 15 minutes, and deliver what was given up.
    "tcp_user_timeout": TIMEOUT * 1000,
}
# How moments are written and in which zone, whatever the database says. libpq
# sends what these variables say; PgBouncer passes it on, unlike `options`.
os.environ["PGDATESTYLE"] = "ISO"
os.environ["PGTZ"] = "UTC"

# `autocommit` and `engine` are one pool, seen in two ways.
# For one statement, a transaction of its own without BEGIN and COMMIT:
autocommit = create_engine(
    url,
    # Given here: an execution option, as below, costs time at each use.
    isolation_level="AUTOCOMMIT",
    # Else the pool would roll back, which `wait` refuses after the deadline.
    skip_autocommit_rollback=True,
    pool_size=POOL_SIZE,
    max_overflow=0,
    pool_timeout=TIMEOUT,
    hide_parameters=True,
    connect_args={} if is_sqlite else postgresql_args,
)
# For several in one, `with engine.begin() as connection:` in a def endpoint:
engine = autocommit.execution_options(
    # Each database's own default.
    isolation_level="SERIALIZABLE" if is_sqlite else "READ COMMITTED"
)


def set_pragmas(connection: Any, _: Any) -> None:
    """Make SQLite enforce foreign keys, and let it read while it writes."""
    connection.execute("PRAGMA foreign_keys = ON")
    # The mode is the file's. Of two processes that set it, one may fail.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")


def open_bounded(_: Any, __: Any, args: Any, options: Any) -> BoundedConnection:
    """Open a connection for the pool, in place of SQLAlchemy."""
    try:
        return BoundedConnection.connect(*args, **options)
    except OSError as error:  # no file descriptor is left
        raise psycopg.OperationalError(str(error)) from None


# epoll and kqueue need a file descriptor of their own, and none may be left.
Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


def replace_closed(connection: Any, record: Any, _: Any) -> None:
    """Have the pool replace a connection that the server has closed.

    Neon does so after five idle minutes. Unlike a ping, this sends nothing.
    """
    if "used" not in record.info:  # SQLAlchemy empties it for a new connection
        # A new one must not be refused here, which would be an
        # InvalidRequestError, and so a 500.
        record.info["used"] = True
        return
    with Selector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        # An idle connection with anything to read is closed, or about to be.
        if selector.select(0):
            raise exc.DisconnectionError


def keep_the_others(context: Any) -> None:
    """Lose one connection and not the pool: `replace_closed` looks at the others."""
    context.invalidate_pool_on_disconnect = False


if is_sqlite:
    event.listen(autocommit, "connect", set_pragmas)
else:
    event.listen(autocommit, "do_connect", open_bounded)
    event.listen(autocommit, "checkout", replace_closed)
    event.listen(autocommit, "handle_error", keep_the_others)


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Create the tables at the start, close the connections at the end."""
    try:
        create_tables()
    except StartError as error:
        logger.critical(error)
        # After any exception, SystemExit too, Starlette would log a traceback,
        # and uvicorn exit with 3. TestClient, in another thread, needs the
        # exception.
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
    except (exc.SQLAlchemyError, TypeError, ValueError) as error:
        # The last two are psycopg's, for a malformed option or host.
        why = reason(error)
        invalid = why.startswith("invalid")  # libpq's word for an option's value
        is_away = isinstance(error, exc.OperationalError) and not invalid
        sentence = f"NEON_DATABASE_URL: cannot be used: {why}"
        raise StartError(sentence, 1 if is_away else 3) from None
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
    """Return in a line what failed, without libpq's address or a row's value."""
    if isinstance(error, exc.DataError):
        return type(error.orig).__name__  # its words quote the value
    words = str(error)
    if isinstance(error, exc.DBAPIError):
        words = str(error.orig)
    first_line = words.partition("\n")[0]  # a DETAIL with a value may follow
    # connection to server at "10.0.0.1", port 5432 failed: Connection refused
    address = r"^(connection .* failed|connection is bad|failed to resolve .*'): "
    return re.sub(address, "", first_line)
