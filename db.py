"""The engine built from NEON_DATABASE_URL, table creation at startup, and the one way
to run a statement. The statements themselves are in main.py.
"""

import asyncio
import fcntl
import logging
import os
import select
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from dotenv import load_dotenv
from sqlalchemy import URL, Executable, Row, event, exc, make_url
from sqlmodel import SQLModel, create_engine

POOL_SIZE = 10  # connections a process, and as many threads
TIMEOUT = 10  # seconds until a database that does not answer is given up

# uvicorn shows what is logged to its own loggers only.
logger = logging.getLogger("uvicorn.error")


def stop(why: str) -> NoReturn:
    """End a start that cannot succeed. On code 3 uvicorn does not try a worker again."""
    logger.critical("NEON_DATABASE_URL %s", why)
    sys.exit(3)


def reason(error: Exception) -> str:
    """Say in the driver's words what failed: one line, without the server's address."""
    words = str(getattr(error, "orig", error)) or f"no answer in {TIMEOUT} s"
    return words.splitlines()[0].rpartition(" failed: ")[2]


def database_url() -> URL:
    """Read NEON_DATABASE_URL from the environment or .env; without it, SQLite."""
    load_dotenv()
    if "NEON_DATABASE_URL" not in os.environ:
        logger.warning("NEON_DATABASE_URL is not set: using SQLite in ./todos.db")
        return make_url("sqlite:///./todos.db")
    try:
        url = make_url(os.environ["NEON_DATABASE_URL"])
    except (exc.ArgumentError, ValueError):  # whose words may hold the password
        url = URL.create("not-a-url")
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    is_postgresql = url.drivername in ("postgresql", "postgres") and url.database
    # An @ left in the host or database is half of a password that holds one itself.
    if is_postgresql and "@" not in f"{url.host}{url.database}":
        return url.set(drivername="postgresql+psycopg")
    stop(
        "must be postgresql://user:password@host/database or sqlite:///file, "
        "with any @ in the password written as %40"
    )


url = database_url()
is_sqlite = url.drivername == "sqlite"
postgresql_args = {
    "prepare_threshold": None,  # PgBouncer before 1.22 loses prepared statements
    "connect_timeout": TIMEOUT,
    "tcp_user_timeout": TIMEOUT * 1000,  # else Linux waits a quarter of an hour
    "keepalives_idle": TIMEOUT // 2,
    "keepalives_interval": TIMEOUT // 2,
}
# For single statements: each is its own transaction, with no BEGIN and COMMIT around it.
autocommit = create_engine(
    url,
    isolation_level="AUTOCOMMIT",
    pool_size=POOL_SIZE,
    max_overflow=0,
    pool_timeout=TIMEOUT,
    hide_parameters=True,
    connect_args={} if is_sqlite else postgresql_args,
)
# For several statements in one transaction: `with engine.begin() as connection`, in a
# plain def endpoint. It uses the same connections.
engine = autocommit.execution_options(
    isolation_level="SERIALIZABLE" if is_sqlite else "READ COMMITTED"
)
threads = ThreadPoolExecutor(POOL_SIZE, "database")  # none waits for a connection


def on_connect(connection: Any, _: Any) -> None:
    """Make SQLite enforce foreign keys, and let it read while it writes."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")


def on_checkout(connection: Any, *_: Any) -> None:
    """Replace a connection that the server has closed: Neon does after five idle minutes.

    An idle connection has something to read only then. No round trip, unlike a ping.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise exc.DisconnectionError


if is_sqlite:
    event.listen(autocommit, "connect", on_connect)
else:
    event.listen(autocommit, "checkout", on_checkout)


def create_tables() -> None:
    """Create the missing tables, one process at a time; exit if that cannot be done."""
    try:
        with open(__file__) as file:
            if is_sqlite:  # two processes that change to WAL mode at once both fail
                fcntl.flock(file, fcntl.LOCK_EX)
            with engine.begin() as connection:
                if not is_sqlite:
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(8000)")
                SQLModel.metadata.create_all(connection)
    except (exc.SQLAlchemyError, OSError, ValueError) as error:
        stop(f"is set to a database that cannot be used: {reason(error)}")
    place = url.host or "this machine"
    logger.info("Using %s database %s on %s", engine.name, url.database, place)


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Close the connections at the end."""
    yield
    engine.dispose()


def execute(statement: Executable, values: dict[str, Any]) -> Sequence[Row[Any]]:
    """Run one statement on a connection of its own, and fetch every row."""
    with autocommit.connect() as connection:
        result = connection.execute(statement, values)
        return result.all() if result.returns_rows else []


async def run(statement: Executable, /, **values: Any) -> Sequence[Row[Any]]:
    """Run one statement in a worker thread, as a transaction of its own.

    The connection is back in the pool before this returns. Raises SQLAlchemy's errors,
    and TimeoutError after TIMEOUT, when the statement may still take effect.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT):
        return await loop.run_in_executor(threads, execute, statement, values)
