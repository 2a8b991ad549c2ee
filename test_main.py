"""The specification as tests, the guard over what is added, and how they work.

The real app is asked over HTTP. It stores in a SQLite file, or in the PostgreSQL
database in TEST_DATABASE_URL, whose role must own it, be allowed to create others, and
to connect to "postgres".
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import operator
import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlmodel import SQLModel

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text()
FOLDER = Path(mkdtemp())  # for the SQLite file, and for starts with other settings
TEST_DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "")

# A request waits 2 s for a lock of SQLite, so that a test need not wait for 5.
SQLITE_URL = f"sqlite:///{FOLDER}/test.db?timeout=2"
os.environ["NEON_DATABASE_URL"] = TEST_DATABASE_URL or SQLITE_URL

try:  # now that the database is chosen
    import db
    import main
    import models
except SystemExit:
    raise pytest.Collector.CollectError(
        "The tests need TEST_DATABASE_URL=postgresql://user:password@host/database, or "
        "none, and a .env in UTF-8, or none."
    ) from None

pytestmark = [
    # An await is missing, or SQLAlchemy warns of a cartesian product.
    pytest.mark.filterwarnings("error::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`"),
]
on_postgresql = pytest.mark.skipif(db.is_sqlite, reason="SQLite has no server")

# What creates a todo. The bodies of the specification build on it, and those of the
# guard on the example in models.py: a new required field belongs in both.
NEW_TODO: dict[str, Any] = {"title": "Buy milk"}
# The same as values for a statement, with what the shape adds.
NEW_TODO_VALUES = models.TodoCreate(**NEW_TODO).model_dump()
MARKER = "Zq9xMarker"  # what no error and no line of the log may repeat


# ==================================================================================
# 1. The specification, in the order of its requirements
# ==================================================================================

# --- FR-001: a todo and its user ---------------------------------------------------


def test_a_todo_has_these_fields(alice: User) -> None:
    assert list(alice.creates()) == [
        "id",
        "title",
        "description",
        "is_completed",
        "created_at",
        "user_id",
    ], "A todo has other fields: change this test, too."


def test_a_todo_belongs_to_the_user_of_the_path(alice: User) -> None:
    assert alice.creates()["user_id"] == alice.id


def test_a_todo_needs_a_user(alice: User) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        execute(main.ADD_TODO.values(**NEW_TODO_VALUES), owner=alice.key)


def test_a_deleted_users_todos_are_deleted(alice: User) -> None:
    alice.creates()
    execute(sa.delete(models.User).filter_by(id=alice.key))
    assert alice.lists() == []


def test_twenty_first_todos_of_one_user_at_once_are_all_created(alice: User) -> None:
    create = {"method": "POST", "url": alice.todos, "json": NEW_TODO}
    answers = alice.asks_together([create] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert len(alice.lists()) == 20


# --- FR-002, FR-003, FR-004: what a new todo is given ------------------------------


def test_a_new_todo_has_an_id_of_its_own(alice: User) -> None:
    first, second = alice.creates(), alice.creates()
    assert UUID(first["id"]) != UUID(second["id"])


def test_a_new_todo_was_created_now_in_utc(alice: User) -> None:
    before = datetime.now(UTC)
    created_at = alice.creates()["created_at"]
    assert created_at.endswith("Z")
    assert before <= datetime.fromisoformat(created_at)
    assert datetime.fromisoformat(created_at) <= datetime.now(UTC)


def test_created_at_reads_the_same_everywhere(alice: User) -> None:
    created = alice.creates()
    [listed] = alice.lists()
    updated = alice.updates(created, title="Buy bread")
    assert listed["created_at"] == created["created_at"]
    assert updated["created_at"] == created["created_at"]
    assert alice.reads(created)["created_at"] == created["created_at"]


def test_a_new_todo_is_not_completed(alice: User) -> None:
    assert alice.creates()["is_completed"] is False


# --- FR-005: NEON_DATABASE_URL -----------------------------------------------------

CANNOT_BE_USED = {
    "empty": "",
    "blank": " ",
    "not a URL": "hunter2",
    "another database": "mysql://me:hunter2@127.0.0.1/todos",
    "psql's command line": "psql 'postgresql://me:hunter2@127.0.0.1/todos'",
    "a port that is no number": "postgresql://me:hunter2@127.0.0.1:port/todos",
    "an option that is no number": "postgresql://me@127.0.0.1/todos?port=hunter2",
    "@ in the password": "postgresql://me:hun@ter2/x@127.0.0.1/todos",
    "no database": "postgresql://me:hunter2@127.0.0.1",
    "SQLite without a file": "sqlite://",
    "SQLite in memory": "sqlite:///:memory:",
    "SQLite in memory by an option": "sqlite:///file:x?mode=memory&uri=true",
    "SQLite with a host": "sqlite://hunter2/todos.db",
    "SQLite with a wrong option": "sqlite:///todos.db?timeout=hunter2",
}


@pytest.mark.parametrize("url", CANNOT_BE_USED.values(), ids=CANNOT_BE_USED)
def test_a_url_that_cannot_be_used_ends_the_start(url: str) -> None:
    start = start_database(url)
    assert start.exit_code == 3
    assert start.log[0].startswith("NEON_DATABASE_URL must be postgresql://")
    assert len(start.log) == 1
    assert "ter2" not in start.log[0], "It shows a part of the password."


REFUSED_BY_THE_DRIVER = {
    "a value that libpq refuses": "postgresql://me:hunter2@127.0.0.1:1/x?sslmode=no",
    "an option that libpq lacks": "postgresql://me:hunter2@127.0.0.1:1/x?hunter=2",
    "a host that is no host": "postgresql://me:hunter2@host..name/todos",
    "a file that is no database": "sqlite:///not_a_database.db",
}


@pytest.mark.parametrize(
    "url", REFUSED_BY_THE_DRIVER.values(), ids=REFUSED_BY_THE_DRIVER
)
def test_what_the_driver_refuses_ends_the_start(url: str) -> None:
    (FOLDER / "not_a_database.db").write_text("hunter2 " * 100)
    start = start_database(url)
    assert start.exit_code == 3
    assert start.log[0].startswith("NEON_DATABASE_URL: cannot be used: ")
    assert len(start.log) == 1
    assert "hunter2" not in start.log[0]


@on_postgresql
@pytest.mark.parametrize("option", ["row_factory=hunter2", "cursor_factory=hunter2"])
def test_an_option_of_the_wrong_type_ends_the_start(option: str) -> None:
    url = db.url.set(drivername="postgresql").update_query_string(option)
    start = start_database(url.render_as_string(hide_password=False))
    assert start.exit_code == 3
    assert start.log[0].startswith("NEON_DATABASE_URL: cannot be used: ")


def test_without_a_url_todos_are_stored_in_todos_db() -> None:
    start = start_database(None)
    assert start.log == [
        "NEON_DATABASE_URL is not set: using ./todos.db",
        "Using sqlite database ./todos.db",
    ]


def test_a_dotenv_file_without_a_url_is_named(dotenv: Path) -> None:
    dotenv.write_text("OTHER=1")
    start = start_database(None)
    expected = "NEON_DATABASE_URL is not set, not even in .env: using ./todos.db"
    assert start.log[0] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_url_may_stand_in_a_dotenv_file(dotenv: Path, encoding: str) -> None:
    dotenv.write_text("NEON_DATABASE_URL=sqlite:///dotenv.db", encoding)
    assert start_database(None).log == ["Using sqlite database dotenv.db"]


def test_the_environment_wins_over_a_dotenv_file(dotenv: Path) -> None:
    dotenv.write_text("NEON_DATABASE_URL=sqlite:///dotenv.db")
    start = start_database("sqlite:///environment.db")
    assert start.log == ["Using sqlite database environment.db"]


def test_a_dotenv_file_that_is_not_utf_8_ends_the_start(dotenv: Path) -> None:
    dotenv.write_text("NEON_DATABASE_URL=sqlite:///dotenv.db", "utf-16")
    start = start_database(None)
    assert start.exit_code == 3
    assert start.log[0].endswith(".env in UTF-8")


@on_postgresql
@pytest.mark.parametrize("scheme", ["postgres://", "postgresql://"])
def test_the_log_of_a_start_names_the_database(scheme: str) -> None:
    start = start_database(re.sub(r"^\w+://", scheme, TEST_DATABASE_URL))
    place = f"{db.url.database} on {db.url.host}"
    assert start.log == [f"Using postgresql database {place}"]


@on_postgresql
def test_moments_read_the_same_whatever_the_database_says(alice: User) -> None:
    todo = alice.creates()
    with database_setting("DateStyle = 'German'"):
        assert alice.reads(todo) == todo


@on_postgresql
def test_statements_run_in_utc_whatever_the_database_says() -> None:
    with database_setting("TimeZone = 'Asia/Tokyo'"):
        assert execute(sa.text("SHOW TimeZone")) == [("UTC",)]


@on_postgresql
def test_a_database_that_cannot_store_every_character_ends_the_start() -> None:
    latin1 = "ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    name = f"{db.url.database}_in_latin1"
    url = db.url.set(drivername="postgresql", database=name)
    with admin_connection() as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}"')
        admin.execute(f'CREATE DATABASE "{name}" {latin1}')
        try:
            start = start_database(url.render_as_string(hide_password=False))
        finally:
            admin.execute(f'DROP DATABASE "{name}"')
    sentence = "NEON_DATABASE_URL: its encoding is LATIN1, not UTF8"
    assert start == Start(3, [sentence])


# --- FR-006: a database that is away, silent or back -------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/todos", "Connection refused"),
        ("sqlite:////no/such/folder/todos.db", "unable to open database file"),
    ],
)
def test_a_start_without_the_database_ends_with_code_1(url: str, why: str) -> None:
    start = start_database(url)
    assert start == Start(1, [f"NEON_DATABASE_URL: cannot be used: {why}"])


@pytest.mark.parametrize(
    ("url", "exit_code", "why"),
    [
        ("postgresql://me@127.0.0.1:1/todos", 1, "Connection refused"),
        ("postgresql://me@127.0.0.1:1/todos?x=1", 3, 'invalid connection option "x"'),
    ],
)
def test_the_whole_app_ends_its_start_with_the_sentence_and_the_code(
    url: str, exit_code: int, why: str
) -> None:
    start = start_app(NEON_DATABASE_URL=url)
    assert start.exit_code == exit_code
    assert start.log[-1] == f"CRITICAL: NEON_DATABASE_URL: cannot be used: {why}"
    assert "Traceback" not in str(start.log)


def test_a_statement_that_waits_too_long_is_503_and_not_written(
    alice: User, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    todo = alice.creates()
    change = {"title": MARKER}
    with todos_locked():
        answer = alice.asks("PATCH", alice.url(todo), json=change, fails=True)
    assert_error(answer, 503)
    assert alice.reads(todo) == todo
    why = "database is locked" if db.is_sqlite else "no answer in 0.5 s"
    assert caplog.messages == [f"Database error: {why}"]


def test_a_statement_that_gets_no_thread_in_time_is_503(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "TIMEOUT", 0.1)
    for _ in range(db.POOL_SIZE):
        db.threads.submit(time.sleep, 0.2)
    assert_error(alice.asks("GET", alice.todos, fails=True), 503)


@on_postgresql
def test_the_wait_for_a_thread_is_a_part_of_the_time(
    alice: User, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "ROUND_TRIP_TIME", 0.4)  # of 0.5 s, 0.2 are waited for
    for _ in range(db.POOL_SIZE):
        db.threads.submit(time.sleep, 0.2)
    assert_error(alice.asks("GET", alice.todos, fails=True), 503)


@on_postgresql
def test_a_client_waits_no_longer_than_a_statement_may_take(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(db, "TIMEOUT", 0)
    monkeypatch.setattr(db, "CANCEL_TIMEOUT", 0)
    for _ in range(db.POOL_SIZE):
        db.threads.submit(time.sleep, 0.7)
    assert_error(alice.asks("GET", alice.todos, fails=True), 503)
    why = "no thread or connection in 0.5 s"
    assert caplog.messages == [f"Database error: {why}"]


@on_postgresql
def test_statements_given_up_leave_their_connections_to_others(
    alice: User, bob: User, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    todos = [alice.creates() for _ in range(db.POOL_SIZE + 5)]
    change = {"method": "PATCH", "json": {"title": MARKER}}
    late = [change | {"url": alice.url(todo)} for todo in todos]
    with todos_locked():
        answers = alice.asks_together(late, fails=True)
        monkeypatch.setattr(db, "TIMEOUT", 5)  # a busy machine connects slowly
        others = bob.asks_together([{"method": "GET", "url": bob.todos}] * 20)
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.status_code for answer in others} == {200}
    assert alice.lists() == todos[::-1]


@on_postgresql
def test_a_statement_given_up_ends_in_the_server(alice: User, impatient: None) -> None:
    todo = alice.creates()
    change = {"title": MARKER}
    with todos_locked() as other:
        alice.asks("PATCH", alice.url(todo), json=change, fails=True)
        locks = "SELECT 1 FROM pg_locks WHERE relation = 'todos'::regclass"
        waiting = f"{locks} AND NOT granted"
        wait_for(lambda: not other.exec_driver_sql(waiting).all())


@on_postgresql
def test_a_statement_in_a_transaction_is_given_up(alice: User, impatient: None) -> None:
    todo = alice.creates()
    change = main.UPDATE_TODO.values(title=MARKER)
    ids = {"owner": alice.key, "todo_id": UUID(todo["id"])}
    given_up = pytest.raises(sa.exc.OperationalError, match="no answer in 0.5 s")
    with todos_locked(), given_up, db.engine.begin() as connection:
        connection.execute(change, ids)
    assert alice.reads(todo) == todo


@on_postgresql
def test_nothing_is_sent_when_the_deadline_is_near(alice: User) -> None:
    todo = alice.creates()

    def delete_too_late() -> None:
        ids = {"owner": alice.key, "todo_id": UUID(todo["id"])}
        with db.autocommit.connect() as connection:
            db.this_thread.deadline = time.monotonic() + db.ROUND_TRIP_TIME
            connection.execute(main.DELETE_TODO, ids)

    # In a thread of its own, in which the deadline stays.
    with ThreadPoolExecutor(1) as thread:
        failure = thread.submit(delete_too_late).exception()
    assert isinstance(failure, sa.exc.OperationalError)
    assert alice.lists() == [todo]


@on_postgresql
def test_a_connection_is_given_back_after_the_deadline(alice: User) -> None:
    def read_in_time() -> None:
        with db.autocommit.connect() as connection:
            connection.execute(main.LIST_TODOS, {"owner": alice.key})
            db.this_thread.deadline = time.monotonic()  # for what is sent now

    with ThreadPoolExecutor(1) as thread:
        thread.submit(read_in_time).result()


@on_postgresql
def test_a_statement_that_succeeds_while_it_is_cancelled_counts(
    impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "ROUND_TRIP_TIME", 0.4)
    with db.autocommit.connect() as connection:
        connection.execute(succeeds_when_cancelled(after=0.05))  # raises nothing


@on_postgresql
def test_a_statement_that_withstands_its_cancel_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(db, "TIMEOUT", 0.3)
    given_up = pytest.raises(sa.exc.OperationalError, match="no answer in 0.3 s")
    with given_up, db.autocommit.connect() as connection:
        connection.execute(succeeds_when_cancelled(after=2))


@on_postgresql
@pytest.mark.parametrize("free", [0, 1])  # where libpq fails, and where Python does
def test_a_statement_is_given_up_where_few_descriptors_are_free(
    alice: User, impatient: None, free: int
) -> None:
    todo = alice.creates()
    ids = {"owner": alice.key, "todo_id": UUID(todo["id"])}
    connected, few_left = db.engine.connect(), descriptors_left(free)
    given_up = pytest.raises(sa.exc.OperationalError, match="no answer in 0.5 s")
    with todos_locked(), connected as connection, few_left, given_up:
        connection.execute(main.DELETE_TODO, ids)
    assert alice.lists() == [todo]


@on_postgresql
def test_connections_closed_while_idle_are_replaced_unnoticed(alice: User) -> None:
    crowd = [{"method": "GET", "url": alice.todos}] * 50
    alice.asks_together(crowd)
    end_connections()
    answers = alice.asks_together(crowd)
    assert {answer.status_code for answer in answers} == {200}


@on_postgresql
def test_a_replacement_that_is_closed_as_well_is_503(alice: User) -> None:
    alice.lists()
    end_connections()
    sa.event.listen(db.autocommit, "connect", end_connections)
    try:
        answer = alice.asks("GET", alice.todos, fails=True)
    finally:
        sa.event.remove(db.autocommit, "connect", end_connections)
    assert_error(answer, 503)
    assert alice.lists() == []


@on_postgresql
def test_a_connection_that_is_lost_costs_the_others_nothing(alice: User) -> None:
    alice.asks_together([{"method": "GET", "url": alice.todos}] * 50)
    pool: Any = db.engine.pool
    before = pool.checkedin()
    assert before > 1
    end_own_connection = sa.text("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(sa.exc.OperationalError, match="terminating connection"):
        execute(end_own_connection)
    opened.clear()
    alice.asks_together([{"method": "GET", "url": alice.todos}] * 50)
    assert len(opened) <= 1 + db.POOL_SIZE - before


@on_postgresql
def test_a_database_that_refuses_connections_is_503_until_it_is_back(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    todo = alice.creates()
    with connections_refused():
        answer = alice.asks("GET", alice.todos, fails=True)
        started_meanwhile = start_database(TEST_DATABASE_URL)
    assert_error(answer, 503)
    assert started_meanwhile.exit_code == 1
    assert alice.lists() == [todo]
    assert caplog.messages[0].startswith("Database error: FATAL: ")
    assert str(db.url.host) not in caplog.text


@on_postgresql
def test_a_read_only_database_is_503(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    todo = alice.creates()
    with database_setting("default_transaction_read_only = on"):
        answer = alice.asks("DELETE", alice.url(todo), fails=True)
    assert_error(answer, 503)
    assert len(caplog.messages) == 1
    assert alice.lists() == [todo]


@on_postgresql
def test_the_connections_are_set_up_for_neon(alice: User) -> None:
    opened.clear()
    db.engine.dispose()
    alice.lists()
    [connection] = opened
    options = connection.info.get_parameters()
    assert options["connect_timeout"] == "10"
    assert options["tcp_user_timeout"] == "10000"
    assert options["client_encoding"] == "utf8"
    assert connection.prepare_threshold is None


# --- FR-007: the pool, the tables, and the import ----------------------------------


def test_no_more_connections_or_threads_than_the_pool_has(alice: User) -> None:
    opened.clear()
    db.engine.dispose()
    with ExitStack() as held:
        for _ in range(db.POOL_SIZE - 1):
            held.enter_context(db.engine.connect())
        answers = alice.asks_together([{"method": "GET", "url": alice.todos}] * 100)
    assert {answer.status_code for answer in answers} == {200}
    assert len(opened) == db.POOL_SIZE
    assert len(db.threads._threads) == db.POOL_SIZE


def test_a_connection_is_waited_for_as_long_as_an_answer() -> None:
    pool: Any = db.engine.pool
    assert pool.timeout() == db.TIMEOUT


def test_create_costs_two_round_trips(alice: User) -> None:
    assert round_trips(alice.creates) == 2


def test_every_other_operation_costs_one_round_trip(alice: User) -> None:
    todo = alice.creates()
    assert round_trips(alice.lists) == 1
    assert round_trips(lambda: alice.reads(todo)) == 1
    assert round_trips(lambda: alice.updates(todo)) == 1
    assert round_trips(lambda: alice.updates(todo, title="Buy bread")) == 1
    assert round_trips(lambda: alice.asks("DELETE", alice.url(todo))) == 1


def test_an_index_serves_the_list() -> None:
    plan = plan_of(main.LIST_TODOS, owner=User().key)
    assert re.search(r"ix_todos_user_id.*\(user_id ?=", plan)
    assert not re.search("Sort|TEMP B-TREE", plan)


def test_several_statements_fit_in_one_transaction(alice: User) -> None:
    create = main.ADD_TODO.values(**NEW_TODO_VALUES)
    with pytest.raises(ZeroDivisionError), db.engine.begin() as connection:
        connection.execute(main.ADD_OWNER, {"owner": alice.key})
        connection.execute(create, {"owner": alice.key})
        raise ZeroDivisionError
    assert alice.lists() == []


def test_ten_starts_at_once_make_the_tables() -> None:
    SQLModel.metadata.drop_all(db.engine)
    with ThreadPoolExecutor(db.POOL_SIZE) as pool:
        starts = [pool.submit(db.create_tables) for _ in range(db.POOL_SIZE)]
    assert [start.exception() for start in starts] == [None] * db.POOL_SIZE


def test_a_sqlite_file_that_is_busy_becomes_wal_later() -> None:
    first = sqlite3.connect(FOLDER / "busy.db", timeout=0)
    second = sqlite3.connect(FOLDER / "busy.db", timeout=0)
    first.execute("BEGIN EXCLUSIVE")
    db.set_pragmas(second, None)
    first.close()
    db.set_pragmas(second, None)
    assert second.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    second.close()


def test_a_table_without_a_column_ends_the_start() -> None:
    old = sqlite3.connect(FOLDER / "old.db")
    old.execute("CREATE TABLE todos (id)")
    old.close()
    start = start_database("sqlite:///old.db")
    way_out = "run ALTER TABLE, or, for SQLite, delete the file"
    sentence = f"NEON_DATABASE_URL: todos has no column title: {way_out}"
    assert start == Start(3, [sentence])


def test_importing_the_app_needs_no_database() -> None:
    program = "import main; print(len(main.app.openapi()['paths']))"
    done = run_python(
        "-c", program, NEON_DATABASE_URL="postgresql://me@127.0.0.1:1/todos"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(DOCUMENT['paths'])}\n"


def test_importing_the_app_opens_no_connection() -> None:
    # The first connection to SQLite makes the file.
    program = "import main, os; main.app.openapi(); print(os.path.exists('todos.db'))"
    assert run_python("-c", program).stdout == "False\n"


# --- FR-008: create ----------------------------------------------------------------


def test_create_answers_201_and_the_todo(alice: User) -> None:
    new = NEW_TODO | {"title": " Kauf Öl 🛢 ", "description": ""}
    answer = alice.asks("POST", alice.todos, json=new)
    assert answer.status_code == 201
    assert new.items() <= answer.json().items()


def test_create_says_where_the_todo_is(alice: User) -> None:
    answer = alice.asks("POST", alice.todos, json=NEW_TODO)
    assert answer.headers["Location"] == alice.url(answer.json())


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
def test_location_begins_with_the_root_path(alice: User, root_path: str) -> None:
    with in_process_client(root_path=root_path) as client, alice.watched():
        answer = client.post(root_path + alice.todos, json=NEW_TODO, auth=alice)
    assert answer.headers["Location"] == f"/api{alice.url(answer.json())}"


def test_a_todo_without_a_description_has_none(alice: User) -> None:
    assert alice.creates()["description"] is None


# --- FR-009: list ------------------------------------------------------------------


def test_the_list_of_a_new_user_is_empty(alice: User) -> None:
    assert alice.lists() == []


def test_the_list_holds_a_hundred_todos_and_more(alice: User) -> None:
    create = {"method": "POST", "url": alice.todos, "json": NEW_TODO}
    alice.asks_together([create] * 101)
    assert len(alice.lists()) == 101


def test_the_list_holds_all_todos_newest_first(alice: User) -> None:
    created = [alice.creates(title=f"Todo {number}") for number in range(30)]
    assert alice.lists() == created[::-1]


# --- FR-010: retrieve --------------------------------------------------------------


def test_read_answers_the_todo(alice: User) -> None:
    alice.creates()
    todo = alice.creates(title="Buy bread")
    alice.creates()
    assert alice.reads(todo) == todo


# --- FR-011: update ----------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "title": {"title": "Buy bread"},
    "description": {"description": "A loaf"},
    "empty description": {"description": ""},
    "no description": {"description": None},
    "completed": {"is_completed": True},
    "not completed": {"is_completed": False},
    "all fields": {"title": "x", "description": "y", "is_completed": False},
    "nothing": {},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_update_changes_the_fields_sent_and_no_other(
    alice: User, changes: dict[str, Any]
) -> None:
    todo = alice.creates(description="Two litres")
    todo = alice.updates(todo, is_completed=True)
    other = alice.creates()
    answer = alice.asks("PATCH", alice.url(todo), json=changes)
    assert answer.status_code == 200
    assert answer.json() == todo | changes
    assert alice.lists() == [other, todo | changes]


def test_a_completed_todo_can_be_open_again(alice: User) -> None:
    todo = alice.creates()
    alice.updates(todo, is_completed=True)
    assert alice.updates(todo, is_completed=False)["is_completed"] is False


# --- FR-012: delete ----------------------------------------------------------------


def test_delete_answers_204_and_nothing(alice: User) -> None:
    answer = alice.asks("DELETE", alice.url(alice.creates()))
    assert answer.status_code == 204
    assert answer.content == b""


REQUESTS: dict[str, tuple[str, Any]] = {
    "read": ("GET", None),
    "update": ("PATCH", {"title": "x"}),
    "update of nothing": ("PATCH", {}),
    "delete": ("DELETE", None),
}
every_request = pytest.mark.parametrize(
    ("method", "body"), REQUESTS.values(), ids=REQUESTS
)


@every_request
def test_a_deleted_todo_is_not_found(alice: User, method: str, body: Any) -> None:
    todo, other = alice.creates(), alice.creates()
    alice.asks("DELETE", alice.url(todo))
    answer = alice.asks(method, alice.url(todo), json=body)
    assert assert_error(answer, 404) == "Todo not found"
    assert alice.lists() == [other]


# --- FR-013, FR-014, FR-015: each user's todos are apart ---------------------------
# The guard below says the same of every operation there is, and audits the SQL.


@every_request
def test_another_users_todo_is_not_found(
    alice: User, bob: User, method: str, body: Any
) -> None:
    todo = alice.creates()
    answer = bob.asks(method, bob.url(todo), json=body)
    assert assert_error(answer, 404) == "Todo not found"
    assert alice.lists() == [todo]


def test_another_users_todos_are_not_listed(alice: User, bob: User) -> None:
    alice.creates()
    own = bob.creates()
    assert bob.lists() == [own]


def test_until_there_is_authentication_the_path_says_who_asks(
    alice: User, bob: User
) -> None:
    todo = alice.creates()
    with alice.watched():  # so that her rows are let through
        assert bob.asks("GET", alice.url(todo)).json() == todo


# --- FR-016 to FR-019: what is refused ---------------------------------------------

NOT_ACCEPTED: dict[str, dict[str, Any]] = {
    "title null": {"title": None},
    "title empty": {"title": ""},
    "title of blanks": {"title": " \t\n\x1f\x85\xa0\u2003\u3000"},
    "title with NUL": {"title": f"x\0{MARKER}"},
    "title with a lone surrogate": {"title": f"{MARKER}\ud800"},
    "title of 256 characters": {"title": "é" * 256},
    "title a number": {"title": 5},
    "title NaN": {"title": float("nan")},
    "title a list": {"title": [MARKER]},
    "description of 2001 characters": {"description": "é" * 2001},
    "description with NUL": {"description": "\0"},
    "description with a lone surrogate": {"description": "\udfff"},
    "description an object": {"description": {MARKER: float("-inf")}},
    "is_completed text": {"is_completed": "true"},
    "is_completed a number": {"is_completed": 1},
    "is_completed null": {"is_completed": None},
    "unknown field": {MARKER: MARKER},
    "unknown field with a lone surrogate": {f"{MARKER}\ud800": 1},
    "999 unknown fields": {f"{MARKER} {number}": 1 for number in range(999)},
    "id": {"id": "11111111-1111-4111-8111-111111111111"},
    "user_id": {"user_id": "11111111-1111-4111-8111-111111111111"},
    "created_at": {"created_at": "2026-01-01T00:00:00Z"},
}
not_accepted = pytest.mark.parametrize(
    "fields", NOT_ACCEPTED.values(), ids=NOT_ACCEPTED
)


@not_accepted
def test_create_refuses(alice: User, fields: dict[str, Any]) -> None:
    answer = alice.asks("POST", alice.todos, content=json.dumps(NEW_TODO | fields))
    assert_error(answer, 422)
    assert alice.lists() == []


@not_accepted
def test_update_refuses(alice: User, fields: dict[str, Any]) -> None:
    todo = alice.creates()
    answer = alice.asks("PATCH", alice.url(todo), content=json.dumps(fields))
    assert_error(answer, 422)
    assert alice.reads(todo) == todo


@pytest.mark.parametrize("required", ["title"])
def test_create_wants(alice: User, required: str) -> None:
    new = {key: value for key, value in NEW_TODO.items() if key != required}
    [error] = assert_error(alice.asks("POST", alice.todos, json=new), 422)
    assert error == {
        "type": "missing",
        "loc": ["body", required],
        "msg": "Field required",
    }


def test_create_takes_no_is_completed(alice: User) -> None:
    answer = alice.asks("POST", alice.todos, json=NEW_TODO | {"is_completed": True})
    assert_error(answer, 422)


ACCEPTED: dict[str, dict[str, Any]] = {
    "title of 255 characters": {"title": "é" * 255},
    "title with blanks around": {"title": " \n x "},
    "title with a decomposed letter": {"title": "e\u0301"},
    "description of 2000 characters": {"description": "\n" + "é" * 1999},
    "description empty": {"description": ""},
    "description null": {"description": None},
}
accepted = pytest.mark.parametrize("fields", ACCEPTED.values(), ids=ACCEPTED)


@accepted
def test_create_stores_as_sent(alice: User, fields: dict[str, Any]) -> None:
    todo = alice.creates(**fields)
    assert fields.items() <= todo.items()
    assert alice.reads(todo) == todo


@accepted
def test_update_stores_as_sent(alice: User, fields: dict[str, Any]) -> None:
    todo = alice.creates(description="Two litres")
    assert alice.updates(todo, **fields) == todo | fields
    assert alice.reads(todo) == todo | fields


MALFORMED: dict[str, tuple[int, bytes]] = {
    "nothing": (422, b""),
    "no JSON": (422, f'{{"title": "{MARKER}'.encode()),
    "a form": (422, f"title={MARKER}".encode()),
    "a list": (422, f'[{{"title": "{MARKER}"}}]'.encode()),
    "a number beyond all": (422, b'{"title": 1e999}'),
    "not UTF-8": (400, f'{{"title": "{MARKER}'.encode() + b'\xff"}'),
    "nested too deeply": (400, b"[" * 60000),
    "a number of 5000 digits": (400, b"9" * 5000),
}


@pytest.mark.parametrize(("status", "body"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_refused(alice: User, status: int, body: bytes) -> None:
    todo = alice.creates()
    assert_error(alice.asks("POST", alice.todos, content=body), status)
    assert_error(alice.asks("PATCH", alice.url(todo), content=body), status)
    assert alice.lists() == [todo]


@pytest.mark.parametrize("bad_id", ["5", MARKER, "%00", "%ff", "%22%3E", "null"])
def test_an_id_that_is_no_uuid_is_refused(alice: User, bad_id: str) -> None:
    [error] = assert_error(alice.asks("GET", f"{alice.todos}/{bad_id}"), 422)
    assert error["loc"] == ["path", "todo_id"]
    assert error["msg"] == "Input should be a valid UUID"


def test_what_cannot_be_a_users_id_is_refused(alice: User) -> None:
    # NUL can be in no id, whatever an id is.
    [error] = assert_error(alice.asks("GET", f"/users/{MARKER}%00/todos"), 422)
    assert error["loc"] == ["path", "user_id"]


LARGEST = json.dumps(NEW_TODO).encode().ljust(64 * 1024)
in_one_or_two_parts = pytest.mark.parametrize("parts", [1, 2])


@in_one_or_two_parts
def test_a_body_of_64_kib_is_accepted(alice: User, parts: int) -> None:
    content = LARGEST if parts == 1 else iter([LARGEST[:-1], LARGEST[-1:]])
    answer = alice.asks("POST", alice.todos, content=content)
    assert answer.status_code == 201


@in_one_or_two_parts
@pytest.mark.parametrize("method", ["POST", "GET", "PATCH", "DELETE"])
def test_a_body_over_64_kib_is_413_and_nothing_is_done(
    alice: User, method: str, parts: int
) -> None:
    todo = alice.creates()
    url = alice.todos if method == "POST" else alice.url(todo)
    content = LARGEST + b" " if parts == 1 else iter([LARGEST, b" "])
    answer = alice.asks(method, url, content=content)
    assert assert_error(answer, 413) == "Body is over 64 KiB"
    assert alice.lists() == [todo]


def test_what_follows_the_body_is_handed_on() -> None:
    # An endpoint that streams its answer so learns that its client has left.
    left = {"type": "http.disconnect"}
    sent = [{"type": "http.request", "body": b"{}"}, left]
    handed_on = []

    async def receive() -> Any:
        return sent.pop(0)

    async def app(_: Any, receive: Any, __: Any) -> None:
        handed_on.append(await receive())
        handed_on.append(await receive())

    async def send(_: Any) -> None:
        raise NotImplementedError  # nothing is answered

    asyncio.run(main.BodyLimit(app)({"type": "http"}, receive, send))
    assert handed_on[1] is left


# --- FR-020: errors are JSON and repeat nothing ------------------------------------


@pytest.mark.parametrize("path", [f"/{MARKER}", f"/x/{MARKER}", "/users/x/todos/"])
def test_an_unknown_path_is_404_in_json(alice: User, path: str) -> None:
    assert assert_error(alice.asks("GET", path), 404) == "Not Found"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_method_that_a_path_lacks_is_405_in_json(alice: User, method: str) -> None:
    assert_error(alice.asks(method, alice.todos), 405)


def test_a_blank_title_is_called_blank(alice: User) -> None:
    [error] = assert_error(
        alice.asks("POST", alice.todos, json=NEW_TODO | {"title": " "}), 422
    )
    assert error == {
        "type": "string_pattern_mismatch",
        "loc": ["body", "title"],
        "msg": "String is blank, or has a character that is not allowed",
    }


def test_an_unknown_field_is_refused_without_its_name(alice: User) -> None:
    new = NEW_TODO | {MARKER: 1}
    [error] = assert_error(alice.asks("POST", alice.todos, json=new), 422)
    assert error["type"] == "extra_forbidden"
    assert error["loc"] == ["body"]


def test_no_more_than_ten_problems_are_listed(alice: User) -> None:
    new = NEW_TODO | {f"unknown {number}": 1 for number in range(11)}
    errors = assert_error(alice.asks("POST", alice.todos, json=new), 422)
    assert len(errors) == 10


# --- FR-021: whose mistake it is ---------------------------------------------------


def test_what_the_database_refuses_is_500_and_one_line_without_a_todo(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    title = f"{MARKER} {alice.id}"
    with titles_unique(title):
        alice.creates(title=title)
        new = NEW_TODO | {"title": title}
        answer = alice.asks("POST", alice.todos, json=new, fails=True)
    assert_error(answer, 500)
    [database_error] = caplog.records
    assert re.match("(?i)Database error: .*unique", database_error.message)
    assert "\n" not in database_error.message
    assert database_error.__dict__["had_traceback"] is False
    assert MARKER not in caplog.text


def test_the_exception_of_a_statement_shows_no_parameter() -> None:
    todo = main.ADD_TODO.values(title=MARKER)
    with pytest.raises(sa.exc.IntegrityError) as refused:
        execute(todo, owner=User().key)
    assert MARKER not in str(refused.value)


@on_postgresql
def test_the_reason_for_the_log_repeats_no_value() -> None:
    with pytest.raises(sa.exc.DataError) as refused:
        execute(sa.text(f"SELECT CAST('{MARKER}' AS integer)"))
    assert db.reason(refused.value) == "InvalidTextRepresentation"


def test_a_client_that_leaves_in_its_body_has_caused_nothing(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    todo = alice.creates()
    client = HTTPConnection(http.base_url.netloc.decode())
    # Nine bytes are promised, and two are sent.
    client.request("DELETE", alice.url(todo), b"{}", {"Content-Length": "9"})
    wait_for(lambda: server.server_state.tasks)  # it has begun
    client.close()
    wait_for(lambda: not server.server_state.tasks)  # and it has ended
    assert caplog.messages == []
    assert alice.lists() == [todo]


def test_a_service_without_free_descriptors_serves_its_clients(alice: User) -> None:
    db.engine.dispose()  # so that both requests use the one connection
    with httpx.Client(base_url=http.base_url) as client, alice.watched():
        client.get(alice.todos, auth=alice)
        with descriptors_left(0):
            answer = client.get(alice.todos, auth=alice)
    assert answer.status_code == 200


@on_postgresql
def test_a_service_without_a_descriptor_for_a_connection_is_503(alice: User) -> None:
    with httpx.Client(base_url=http.base_url) as client, alice.watched(fails=True):
        client.get(alice.todos, auth=alice)
        db.engine.dispose()
        with descriptors_left(1):
            answer = client.get(alice.todos, auth=alice)
    assert_error(answer, 503)


# --- The OpenAPI document, and FastAPI's test client -------------------------------


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_document_is_served(alice: User, path: str) -> None:
    assert alice.asks("GET", path).status_code == 200


def test_the_document_tells_the_rules_of_a_new_todo() -> None:
    shape = SCHEMAS["TodoCreate"]
    assert shape["additionalProperties"] is False
    assert shape["required"] == ["title"], (
        "A new required field: change this test, too."
    )
    assert shape["properties"]["title"]["maxLength"] == 255
    assert "pattern" in shape["properties"]["title"]
    assert shape["properties"]["description"]["anyOf"][0]["maxLength"] == 2000


def test_the_document_tells_the_rules_of_a_change() -> None:
    shape = SCHEMAS["TodoUpdate"]
    assert shape["additionalProperties"] is False
    assert "required" not in shape
    assert shape["properties"]["title"]["maxLength"] == 255


def test_the_document_tells_that_an_error_is_a_sentence() -> None:
    shape = SCHEMAS["ErrorResponse"]
    assert shape["required"] == ["detail"]
    assert shape["properties"]["detail"]["type"] == "string"


def test_the_document_has_an_example_for_the_user_alone() -> None:
    # A todo's id is made by the service, so that no example would work.
    parameters = DOCUMENT["paths"][main.TODO_PATH]["get"]["parameters"]
    assert [taken["name"] for taken in parameters if "examples" in taken] == ["user_id"]


def test_the_app_works_in_fastapis_test_client(alice: User) -> None:
    with in_process_client() as client, alice.watched():
        created = client.post(alice.todos, json=NEW_TODO, auth=alice)
        listed = client.get(alice.todos, auth=alice)
        too_large = client.post(alice.todos, content=LARGEST + b" ", auth=alice)
    assert created.status_code == 201
    assert listed.json() == [created.json()]
    assert too_large.status_code == 413


def test_fastapis_test_client_is_told_why_the_app_cannot_start() -> None:
    program = """
import main
from fastapi.testclient import TestClient
try:
    TestClient(main.app).__enter__()
except Exception as error:
    print(error)
"""
    done = run_python(
        "-c", program, NEON_DATABASE_URL="postgresql://me@127.0.0.1:1/todos"
    )
    assert done.stdout == "NEON_DATABASE_URL: cannot be used: Connection refused\n"


# ==================================================================================
# 2. The guard, over what is there and what is added. Alone: pytest -k guard
#
# It makes every request that the OpenAPI document offers, as the owner, as another
# user and as a crowd, and it audits every statement. An addition needs no test here to
# be edited, but for the lists of operations and columns. Where another one of these
# tests fails, change the code and not the guard.
# ==================================================================================


def test_guard_the_document_lists_these_operations() -> None:
    statuses_of_all = {413, 503}
    further_statuses = {
        "create_todo": {201, 400},
        "list_todos": {200},
        "read_todo": {200, 404},
        "update_todo": {200, 400, 404},
        "delete_todo": {204, 404},
    }
    expected = {
        name: statuses | statuses_of_all for name, statuses in further_statuses.items()
    }
    # FastAPI adds 422 to what has a parameter or a body.
    assert {each.name: each.statuses - {422} for each in OPERATIONS} == expected, (
        "The guard: the document lists other operations or statuses than this test. "
        "Add your operation here, with its statuses other than 413, 422 and 503."
    )


def test_guard_the_table_of_todos_has_these_columns() -> None:
    key = "CHAR(32)" if db.is_sqlite else "UUID"
    moment = "DATETIME" if db.is_sqlite else "TIMESTAMP WITH TIME ZONE"
    expected = {
        "id": key,
        "title": "VARCHAR(255)",
        "description": "VARCHAR(2000) NULL",
        "is_completed": "BOOLEAN",
        "created_at": moment,
        "user_id": key,
    }
    assert columns_of("todos") == expected, (
        "The guard: the table of todos has other columns, or of another type, than this "
        "test. Add yours here."
    )


def test_guard_the_table_of_users_has_an_id_alone() -> None:
    assert list(columns_of("users")) == ["id"], (
        "The guard: the table of users has other columns than this test. Add yours here."
    )


def test_guard_every_table_has_an_owner() -> None:
    for table in SQLModel.metadata.sorted_tables:
        assert table.name.lower() in OWNER or table.name == "users", (
            f"The guard does not know whose the rows of {table.name} are: give it a "
            "column with a foreign key to users.id."
        )


def test_guard_every_path_to_a_resource_names_the_user() -> None:
    for route in ROUTES:
        path = str(route.path)
        if "{" in path or OWNER.keys() & path.split("/"):
            assert path.startswith("/users/{user_id}"), (
                f"The guard: {path} of {route.name} does not name the user. "
                "Begin it with /users/{user_id}."
            )


def test_guard_no_path_with_an_id_is_hidden() -> None:
    for route in ROUTES:
        assert route.include_in_schema or "{" not in str(route.path), (
            f"The guard: {route.name} is hidden from the document, by which the guard "
            "finds what to ask. Leave out include_in_schema=False."
        )


# `operation`, `item_operation` (on one item, by its id) and `optional` come from
# pytest_generate_tests, below.


def test_guard_every_operation_is_described(operation: Operation) -> None:
    assert operation.document.get("description"), (
        f"The guard: {operation.name} has no docstring."
    )


def test_guard_every_operation_declares_its_answer(operation: Operation) -> None:
    for status, answer in operation.document["responses"].items():
        media = answer.get("content", {}).get("application/json")
        if media:
            shape = media["schema"].get("items", media["schema"])
            message = (
                f"The guard: {operation.name} declares no shape of its {status}: give "
                "it a response_model or, where it is not JSON, response_class=Response."
            )
            # Any has a title alone.
            assert shape.keys() - {"title"}, message
            # An object of any fields is what FastAPI makes of -> dict.
            assert shape.get("additionalProperties") is not True, message


def test_guard_every_error_is_declared_as_json(operation: Operation) -> None:
    for status, answer in operation.document["responses"].items():
        assert status < "400" or "application/json" in answer.get("content", {}), (
            f"The guard: {operation.name} does not declare its {status} as JSON: give "
            "it a model, and name no other response_class than Response."
        )


def test_guard_no_route_takes_the_path_of_another(
    operation: Operation, alice: User
) -> None:
    route = route_of(operation.request(alice, {}))
    assert operation.name in (route.unique_id, route.operation_id), (
        f"The guard: {route.name} takes the path of {operation.name}. "
        f"Move {operation.name} above it."
    )


def test_guard_an_operation_works_for_its_owner(
    operation: Operation, optional: bool, alice: User
) -> None:
    request = operation.request(alice, belongings(alice, optional), optional)
    answer = alice.asks(**request)
    # It may be meant to conflict with what she has created from the same example, or
    # to look for something that she has not.
    meant = {409, 412} if operation.has_item else {404, 409, 412}
    assert not answer.is_error or answer.status_code in meant, (
        f"The guard: {operation.name} answered its owner {answer.status_code}: "
        f"{answer.text}\nSent was {request}. Do the examples in it fit together?"
    )
    assert_declared(operation, answer)


def test_guard_an_operation_answers_in_the_shape_that_it_declares(
    operation: Operation, optional: bool, alice: User
) -> None:
    request = operation.request(alice, belongings(alice, optional), optional)
    answer = alice.asks(**request)
    shape = route_of(request).response_model
    is_json = answer.headers.get("Content-Type") == "application/json"
    # FastAPI does not validate a Response that an endpoint makes itself.
    if shape and is_json and answer.is_success:
        try:
            TypeAdapter(shape).validate_json(answer.content)
        except ValidationError as error:
            raise AssertionError(
                f"The guard: {operation.name} answers in another shape than it declares: "
                f"{error}"
            ) from None


def test_guard_what_is_left_out_of_a_body_or_null_breaks_nothing(
    operation: Operation, alice: User
) -> None:
    # A refusal is no failure, but an exception is one, by `asks`.
    request = operation.request(alice, belongings(alice))
    body = request.pop("json", None)
    alice.asks(**request)
    if isinstance(body, dict):
        for name, value in body.items():
            alice.asks(**request, json={name: value})
            alice.asks(**request, json=body | {name: None})


def test_guard_every_choice_in_a_query_is_audited(
    operation: Operation, alice: User
) -> None:
    # A statement that is open to others is a failure, by `asks`.
    request = operation.request(alice, belongings(alice))
    parameters = operation.document.get("parameters", [])
    for query in [each for each in parameters if each["in"] == "query"]:
        for choice in choices(query["schema"]):
            params = request["params"] | {query["name"]: choice}
            alice.asks(**request | {"params": params})


def test_guard_a_collection_shows_its_owner_what_is_in_it(alice: User) -> None:
    hers = belongings(alice)
    for operation in OPERATIONS:
        id_name = ID_NAMES.get(operation.path)
        if operation.method == "GET" and id_name in hers:
            answer = alice.asks(**operation.request(alice, hers, optional=False))
            assert hers[id_name] in answer.text, (
                f"The guard: {operation.name} does not show Alice the {id_name} that "
                "she has just created. Is its answer remembered for another user, or "
                "does its shape lack the id?"
            )


def test_guard_another_user_is_shown_nothing(
    operation: Operation, optional: bool, alice: User, bob: User
) -> None:
    hers = belongings(alice)
    reads_everything(alice, hers)  # so that hers is remembered, if anything is
    answer = bob.asks(**operation.request(bob, hers, optional))
    assert answer.status_code not in (401, 403), (
        f"The guard: {operation.name} refuses Bob, who may ask. Answer 404 to an id that "
        "is not his."
    )
    assert_declared(operation, answer)
    for name, value in hers.items():
        assert value not in answer.text + str(answer.headers), (
            f"The guard: {operation.name} shows Bob the {name} of Alice."
        )
    carol = User()
    nothing = carol.asks(**operation.request(carol, {}, optional))
    assert answer.status_code == nothing.status_code, (
        f"The guard: {operation.name} tells Bob an id of Alice from one that is not "
        f"there: it answers {answer.status_code} and not {nothing.status_code}."
    )


def test_guard_another_users_id_is_answered_as_an_unknown_one(
    item_operation: Operation, optional: bool, alice: User, bob: User
) -> None:
    hers = belongings(alice)
    reads_everything(alice, hers)
    belongings(bob)  # an operation might answer with his instead
    answer = bob.asks(**item_operation.request(bob, hers, optional))
    nothing = bob.asks(**item_operation.request(bob, {}, optional))
    message = (
        f"The guard: {item_operation.name} has to answer 404 to another user's id, "
        "the same as to an id that is not there."
    )
    assert answer.status_code == 404, message
    assert nothing.status_code == 404, message
    assert answer.content == nothing.content, message
    assert answer.headers == nothing.headers, message
    assert_declared(item_operation, answer)


def test_guard_another_user_changes_nothing(
    operation: Operation, optional: bool, alice: User, bob: User
) -> None:
    hers = belongings(alice)
    before = reads_everything(alice, hers)
    belongings(bob)  # an operation might give his away
    bob.asks(**operation.request(bob, hers, optional))
    after = reads_everything(alice, hers)
    both = before.keys() & after.keys()
    changed = [name for name in both if after[name] != before[name]]
    assert not changed, (
        f"The guard: {operation.name} lets Bob change Alice's data, or a GET changes "
        f"it: {changed} answer her otherwise than before."
    )


def test_guard_a_hundred_clients_at_once_are_all_answered(
    operation: Operation, alice: User, bob: User
) -> None:
    requests = {
        alice: operation.request(alice, belongings(alice)),
        bob: operation.request(bob, belongings(bob)),
    }
    crowd = [alice, bob] * 50

    def ask(user: User) -> httpx.Response:
        return http.request(auth=user, **requests[user])

    with alice.watched(), bob.watched(), ThreadPoolExecutor(len(crowd)) as pool:
        answers = list(pool.map(ask, crowd))
    expected = operation.statuses - {401, 403, 413, 422, 503}
    if alice.asks(**requests[alice]).status_code != 404:  # it was not used up
        expected -= {404}
    unexpected = {answer.status_code for answer in answers} - expected
    assert not unexpected, (
        f"The guard: {operation.name} answered a crowd with {unexpected}. "
        "Declare a 409 that is meant in responses={...}."
    )
    for user, answer in zip(crowd, answers, strict=True):
        user.sees_nobody_else_in(answer)


# The tests of the audit itself: where one of these fails, the audit is broken. Alice
# is watched, and Bob is not.
ALICE: Any = sa.bindparam("alice")
BOB: Any = sa.bindparam("bob")
TABLE = SQLModel.metadata.tables["todos"]
FIRST = TABLE.alias()
SECOND = TABLE.alias()

IS_ALICES = TABLE.c.user_id == ALICE
FIRST_IS_ALICES = FIRST.c.user_id == ALICE
SECOND_IS_ALICES = SECOND.c.user_id == ALICE
IS_NAMED = TABLE.c.title == "x"
EXISTS_FIRST = sa.exists().where(FIRST.c.id == TABLE.c.id)

IDS = sa.select(TABLE.c.id)
ALICES_IDS = IDS.where(IS_ALICES)
PAIRS = sa.select(FIRST.c.id).join(SECOND, FIRST.c.id == SECOND.c.id)
JOINED = FIRST.join(SECOND, FIRST_IS_ALICES & SECOND_IS_ALICES)
RENAME = sa.update(TABLE).values(title="x")
ADD = insert(TABLE)
ALICES_ROW = {"user_id": ALICE, **NEW_TODO_VALUES}
BOBS_ROW = ALICES_ROW | {"user_id": BOB}

REFUSED: dict[str, sa.Executable] = {
    "text": sa.text("SELECT id FROM todos"),
    "text in capitals": sa.text("SELECT count(*) FROM TODOS"),
    "text that names the table after a comma": sa.text("SELECT 1 FROM users, todos"),
    "the table by its name": sa.select(sa.table("todos", sa.column("id"))),
    "no condition": IDS,
    "another condition": IDS.where(IS_NAMED),
    "another user": IDS.where(TABLE.c.user_id == BOB),
    "condition negated": IDS.where(~IS_ALICES),
    "condition under OR": IDS.where(sa.or_(IS_ALICES, IS_NAMED)),
    "condition in CASE": IDS.where(sa.case((IS_ALICES, True))),
    "condition beside text": ALICES_IDS.where(sa.literal_column("1 OR 1")),
    "condition beside text in a condition": ALICES_IDS.where(
        TABLE.c.title == sa.literal_column("'x' OR 'x' = 'x'")
    ),
    "condition before text": ALICES_IDS.suffix_with("OR 1 = 1"),
    "condition only in ON": JOINED.select(),
    "condition on one of two": PAIRS.where(FIRST_IS_ALICES),
    "condition only in a subquery": IDS.where(TABLE.c.id.in_(ALICES_IDS)),
    "no condition in EXISTS": ALICES_IDS.where(EXISTS_FIRST),
    "no condition in a CTE": sa.select(IDS.cte()),
    "no condition in a UNION": ALICES_IDS.union(IDS),
    "UPDATE by another condition": RENAME.where(IS_NAMED),
    "UPDATE that gives a row away": RENAME.where(IS_ALICES).values(user_id=BOB),
    "DELETE by another condition": sa.delete(TABLE).where(IS_NAMED),
    "INSERT without a user": ADD.values(title="x"),
    "INSERT for another user": ADD.values(BOBS_ROW),
    "INSERT for two users": ADD.values([ALICES_ROW, BOBS_ROW]),
    "INSERT from SELECT": ADD.from_select(["id"], ALICES_IDS),
    "hint with text": ALICES_IDS.with_statement_hint("UNION SELECT id FROM todos"),
    "INSERT that may update": ADD.values(ALICES_ROW).on_conflict_do_update(
        index_elements=["id"], set_={"title": "x"}
    ),
}
LET_THROUGH: dict[str, sa.Executable] = {
    "condition": ALICES_IDS,
    "condition beside OR": ALICES_IDS.where(sa.or_(IS_NAMED, ~IS_NAMED)),
    "conditions on both": PAIRS.where(FIRST_IS_ALICES, SECOND_IS_ALICES),
    "condition in a CTE": sa.select(ALICES_IDS.cte()),
    "condition in a subquery": sa.select(ALICES_IDS.subquery()),
    "condition in both of a UNION": ALICES_IDS.union(ALICES_IDS),
    "label with the table's name": ALICES_IDS.add_columns(IS_NAMED.label("todos")),
    "number of rows": sa.select(sa.func.count()).where(IS_ALICES),
    "search": ALICES_IDS.where(TABLE.c.title.icontains("%", autoescape=True)),
    "UPDATE": RENAME.where(IS_ALICES),
    "DELETE": sa.delete(TABLE).where(IS_ALICES),
    "INSERT of two rows": ADD.values([ALICES_ROW, ALICES_ROW]),
    "no table": sa.select(sa.literal(1)),
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED)
def test_guard_refuses(statement: sa.Executable, alice: User, bob: User) -> None:
    with alice.watched(fails=True), pytest.raises(PermissionError):
        execute(statement, alice=alice.key, bob=bob.key)
    assert "The guard refuses a statement" in str(faults)


@pytest.mark.parametrize("statement", LET_THROUGH.values(), ids=LET_THROUGH)
def test_guard_lets_through(statement: sa.Executable, alice: User) -> None:
    execute(main.ADD_OWNER, owner=alice.key)
    with alice.watched():
        execute(statement, alice=alice.key)


def test_guard_lets_through_the_user_as_a_value(alice: User) -> None:
    row = ALICES_ROW | {"user_id": alice.key}
    with alice.watched():
        execute(main.ADD_OWNER, owner=alice.key)
        execute(ADD.values(row))
        execute(ADD.values([row, row]))
        execute(IDS.where(TABLE.c.user_id == alice.key))


def test_guard_refuses_another_user_as_a_value(alice: User, bob: User) -> None:
    row = ALICES_ROW | {"user_id": bob.key}
    with alice.watched(fails=True), pytest.raises(PermissionError):
        execute(ADD.values(row))
    assert "The guard refuses a statement" in str(faults)


def test_guard_refuses_text_for_the_driver(alice: User) -> None:
    refused = pytest.raises(PermissionError)
    with alice.watched(fails=True), refused, db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT id FROM todos")
    assert "The guard refuses a statement" in str(faults)


def test_guard_refuses_statements_for_a_user_who_is_not_watched(
    alice: User, bob: User
) -> None:
    hers = belongings(alice)
    reads = [each for each in OPERATIONS if each.method == "GET"]
    with bob.watched(fails=True):
        answer = http.request(auth=alice, **reads[0].request(alice, hers))
    assert_error(answer, 500)
    assert "The guard refuses a statement" in str(faults)


def test_guard_finds_a_statement_on_the_event_loop(alice: User) -> None:
    async def careless() -> None:
        with db.engine.connect() as connection:
            connection.execute(main.LIST_TODOS, {"owner": alice.key})

    with alice.watched(fails=True):
        asyncio.run(careless())
    assert "The guard: a statement blocks the event loop" in str(faults)


# ==================================================================================
# 3. How they work
# ==================================================================================

# --- The service, and its log ------------------------------------------------------

# No connection is used twice: uvicorn closes one after an exception.
HEADERS = {"Content-Type": "application/json", "Connection": "close"}
http = httpx.Client(headers=HEADERS, timeout=20)
# Without dates, so that two answers can be compared whole.
config = uvicorn.Config(main.app, port=0, log_config=None, date_header=False)
server = uvicorn.Server(config)
log = logging.getLogger("uvicorn.error")
log.setLevel("INFO")

# What went wrong in the service since `User.watched` began, the cause first.
faults: list[str] = []


def note_fault(record: logging.LogRecord) -> bool:
    """Note the exception that is handled while a line is logged; log no traceback.

    This is a filter of the log.
    """
    error = sys.exception()
    if isinstance(error, sa.exc.TimeoutError) and "QueuePool" in str(error):
        faults.append(
            "The guard: every connection is held by a request that does not use it now, "
            "as a Session from a dependency holds one. Use run, or engine.begin() within "
            "a def endpoint."
        )
    if error:
        line = line_of_the_service(traceback.extract_tb(error.__traceback__))
        faults.append(f"{type(error).__name__}: {error}\n{line}")
    # Python 3.11 fails where two threads format a traceback at once.
    record.had_traceback = bool(record.exc_info)
    record.exc_info = None
    return True


log.addFilter(note_fault)


def line_of_the_service(frames: traceback.StackSummary) -> str:
    """Return the innermost line of main.py or the like in a stack, if there is one."""
    for frame in reversed(frames):
        file = Path(frame.filename)
        if file.parent == HERE and file.name not in ("db.py", "test_main.py"):
            return f"{file.name}:{frame.lineno}: {frame.line}"
    return ""


def line_of_the_event_loop() -> str:
    """Return the line of the service that the event loop is at, if it is at one."""
    [thread] = [each for each in threading.enumerate() if each.name == "server_0"]
    frame = sys._current_frames()[thread.ident or 0]
    return line_of_the_service(traceback.extract_stack(frame))


def note_unraisable(what: Any) -> None:
    """Note an exception that Python cannot raise. This is a hook of sys."""
    faults.append(str(what.exc_value))


@pytest.fixture(scope="session", autouse=True)
def service() -> Iterator[None]:
    """Serve the app in a thread; end it, and see that it closes its connections."""
    shutil.copy(HERE / "db.py", FOLDER)  # for start_database
    sys.unraisablehook = note_unraisable  # finds a coroutine that nobody awaits

    def serve() -> None:
        # So that it is said where such a coroutine was made.
        sys.set_coroutine_origin_tracking_depth(1)
        server.run()

    with ThreadPoolExecutor(1, "server") as thread:
        serving = thread.submit(serve)
        wait_for(lambda: server.started or serving.done())
        assert server.started, "The service cannot start; its log says why."
        port = server.servers[0].sockets[0].getsockname()[1]
        http.base_url = httpx.URL(f"http://127.0.0.1:{port}")
        yield
        server.should_exit = True
    pool: Any = db.engine.pool
    assert pool.checkedin() == 0, "Connections are left open at the end."
    shutil.rmtree(FOLDER)


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until something holds that happens in another thread or process."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.001)


# --- Who asks ----------------------------------------------------------------------

users_asking: list[str] = []  # the ids of those who are watched, for the audit
users_known: list[str] = []  # the ids of all, from every test


class User(httpx.Auth):
    """A user of whom the service has not heard. Every request is made by one.

    This is the place to sign requests: define `auth_flow`, as httpx.Auth describes.
    """

    def __init__(self) -> None:
        self.id = str(uuid4())  # as it stands in paths and answers
        # As a statement takes it.
        self.key: Any = TypeAdapter(models.UserId).validate_python(self.id)
        self.todos = f"/users/{self.id}/todos"
        users_known.append(self.id)

    def url(self, todo: dict[str, Any]) -> str:
        """Return the URL of a todo, below this user's path."""
        return f"{self.todos}/{todo['id']}"

    @contextmanager
    def watched(self, *, fails: bool = False) -> Iterator[None]:
        """Audit every statement, let this user's rows through, and fail for a fault.

        With fails=True a fault is left to the test.
        """
        __tracebackhide__ = True
        faults.clear()
        users_asking.append(self.id)
        try:
            yield
        except httpx.TransportError as error:  # it hung up, or never answered
            if line := line_of_the_event_loop():
                faults.insert(0, f"The guard: this line blocks the event loop.\n{line}")
            raise AssertionError("\n".join([*faults[:3], repr(error)])) from None
        else:
            # After its answer a request may log an exception or run background tasks.
            wait_for(lambda: not server.server_state.tasks)
        finally:
            users_asking.remove(self.id)
        assert fails or not faults, "\n".join(faults[:3])

    def asks(
        self, method: str, url: str, *, fails: bool = False, **more: Any
    ) -> httpx.Response:
        """Make a request."""
        with self.watched(fails=fails):
            answer = http.request(method, url, auth=self, **more)
        self.sees_nobody_else_in(answer)
        return answer

    def asks_together(
        self, requests: list[dict[str, Any]], *, fails: bool = False
    ) -> list[httpx.Response]:
        """Make all requests at once, each on a connection of its own.

        Returns the answers in the order of the requests.
        """

        def ask(request: dict[str, Any]) -> httpx.Response:
            return http.request(auth=self, **request)

        with self.watched(fails=fails), ThreadPoolExecutor(len(requests)) as pool:
            answers = list(pool.map(ask, requests))
        for answer in answers:
            self.sees_nobody_else_in(answer)
        return answers

    def sees_nobody_else_in(self, answer: httpx.Response) -> None:
        """See that an answer shows no other user's id, but one in the URL.

        So it is seen when something is remembered, or shared, between users.
        """
        __tracebackhide__ = True
        text, url = answer.text, str(answer.url)
        for other in users_known:
            assert other == self.id or other in url or other not in text, (
                f"The guard: {answer.request.method} {url} shows its user the id of "
                "another. Is something remembered, or shared between requests?"
            )

    def creates(self, **fields: Any) -> dict[str, Any]:
        """Create a todo from NEW_TODO and these fields, and return it."""
        answer = self.asks("POST", self.todos, json=NEW_TODO | fields)
        assert answer.status_code == 201, f"NEW_TODO is not created: {answer.text}"
        todo: dict[str, Any] = answer.json()
        return todo

    def lists(self) -> Any:
        """Return the list of the user's todos."""
        return self.asks("GET", self.todos).json()

    def reads(self, todo: dict[str, Any]) -> Any:
        """Return a todo as it is now."""
        return self.asks("GET", self.url(todo)).json()

    def updates(self, todo: dict[str, Any], **changes: Any) -> Any:
        """Change a todo, and return it."""
        return self.asks("PATCH", self.url(todo), json=changes).json()


@pytest.fixture
def alice() -> User:
    """A user."""
    return User()


@pytest.fixture
def bob() -> User:
    """Another user."""
    return User()


def in_process_client(**options: Any) -> Any:
    """Return FastAPI's own client of the app."""
    from fastapi.testclient import TestClient  # warns of httpx when it is imported

    return TestClient(main.app, **options)


def assert_error(answer: httpx.Response, status: int) -> Any:
    """See that an error is as the README says and repeats nothing; return its detail."""
    __tracebackhide__ = True
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get("Retry-After") == ("5" if status == 503 else None)
    assert MARKER not in answer.text
    assert len(answer.content) < 2000
    detail: Any = answer.json()["detail"]
    if status == 422:
        for problem in detail:
            assert problem.keys() == {"type", "loc", "msg"}
    else:
        assert f"| {status} |" in README
        assert f"| `{answer.text}` |" in README, "The README lacks this error."
    return detail


# --- The database ------------------------------------------------------------------

opened: list[Any] = []  # the driver's connections
# The drivers' traces of what is sent to the database.
wire = (FOLDER / "wire").open("a", buffering=1)


@sa.event.listens_for(db.autocommit, "connect")
def trace(connection: Any, _: Any) -> None:
    """Note a new connection, and write down what it sends."""
    opened.append(connection)
    if db.is_sqlite:
        connection.set_trace_callback(
            lambda sql: print(" ".join(sql.split()), file=wire)
        )
    else:
        connection.pgconn.trace(wire.fileno())


def round_trips(request: Callable[[], object]) -> int:
    """Count what a request sends to the database: statements, BEGIN, COMMIT, pings."""
    os.truncate(wire.name, 0)
    request()
    sent = Path(wire.name).read_text()
    if db.is_sqlite:
        # A DELETE that cascades is written twice, and the cascade as a comment.
        lines = dict.fromkeys(sent.splitlines())
        return len([line for line in lines if not line.startswith(("PRAGMA", "--"))])
    return len(re.findall(r"\tF\t\d+\t(Sync|Query)", sent))


def execute(statement: sa.Executable, **values: Any) -> Any:
    """Run a statement as an endpoint does."""
    return asyncio.run(db.run(statement, **values))


def succeeds_when_cancelled(after: float) -> sa.TextClause:
    """Return a statement that, when it is cancelled, succeeds after these seconds.

    PostgreSQL may signal one cancel twice, to the process and to its group.
    """
    return sa.text(f"""
        DO $$
        BEGIN
            PERFORM pg_sleep(5);
        EXCEPTION WHEN query_canceled THEN
            BEGIN
                PERFORM pg_sleep({after});
            EXCEPTION WHEN query_canceled THEN
                PERFORM pg_sleep({after});
            END;
        END $$
    """)


def columns_of(table: str) -> dict[str, str]:
    """Return the names and types of a table's columns in the database."""
    columns = {}
    for column in sa.inspect(db.engine).get_columns(table):
        kind = str(column["type"])
        if getattr(column["type"], "timezone", False) and not db.is_sqlite:
            kind += " WITH TIME ZONE"
        if column["nullable"]:
            kind += " NULL"
        columns[column["name"]] = kind
    return columns


def plan_of(statement: Any, **values: Any) -> str:
    """Return how the database would run a statement in a large table."""
    literal = {"literal_binds": True}
    sql = statement.params(values).compile(db.engine, compile_kwargs=literal)
    with db.engine.connect() as connection:
        if db.is_sqlite:
            return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all())
        # Off is what PostgreSQL prefers while a table is small.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        return str(connection.exec_driver_sql(f"EXPLAIN {sql}").all())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a statement half a second on PostgreSQL. (SQLITE_URL says 2 s.)"""
    if not db.is_sqlite:
        monkeypatch.setattr(db, "TIMEOUT", 0.5)


@contextmanager
def todos_locked() -> Iterator[sa.Connection]:
    """Let nobody else write todos."""
    lock = "LOCK TABLE todos IN SHARE MODE"
    with db.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if db.is_sqlite else lock)
        yield connection


@contextmanager
def titles_unique(title: str) -> Iterator[None]:
    """Have the database refuse a second todo of this title."""
    index = f"i{uuid4().hex}"
    where = f"WHERE title = '{title}'"
    execute(sa.text(f"CREATE UNIQUE INDEX {index} ON todos (title) {where}"))
    try:
        yield
    finally:
        execute(sa.text(f"DROP INDEX {index}"))


def admin_connection() -> psycopg.Connection[Any]:
    """Connect to the database "postgres" of the server."""
    return psycopg.connect(TEST_DATABASE_URL, dbname="postgres", autocommit=True)


def end_connections(*_: object) -> None:
    """End all connections to the test's database, as Neon does with idle ones."""
    served = f"FROM pg_stat_activity WHERE datname = '{db.url.database}'"
    with admin_connection() as admin:
        ended = admin.execute(f"SELECT pid, pg_terminate_backend(pid) {served}")
        pids = [pid for pid, _ in ended]
        left = f"SELECT 1 {served} AND pid = ANY(%s)"
        wait_for(lambda: not admin.execute(left, [pids]).fetchall())


@contextmanager
def database_setting(setting: str) -> Iterator[None]:
    """Set a database's default for new connections, and connect anew."""
    name = setting.partition(" = ")[0]
    with admin_connection() as admin:
        admin.execute(f'ALTER DATABASE "{db.url.database}" SET {setting}')
        try:
            end_connections()
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{db.url.database}" RESET {name}')
            end_connections()


@contextmanager
def connections_refused() -> Iterator[None]:
    """End the service's connections, and refuse new ones."""
    allow = f'ALTER DATABASE "{db.url.database}" ALLOW_CONNECTIONS'
    with admin_connection() as admin:
        admin.execute(f"{allow} false")
        try:
            end_connections()
            yield
        finally:
            admin.execute(f"{allow} true")


@contextmanager
def descriptors_left(free: int) -> Iterator[None]:
    """Use up the file descriptors of this process but for a few."""
    taken = []
    with suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    for _ in range(free):
        os.close(taken.pop())
    try:
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)


# --- Starts with other settings ----------------------------------------------------


@dataclass
class Start:
    """How a start ended: its exit code, None if it succeeded, and its log."""

    exit_code: int | None
    log: list[str]


def start_database(url: str | None) -> Start:
    """Start a copy of db.py in this process, with this NEON_DATABASE_URL or none."""
    environment = {} if url is None else {"NEON_DATABASE_URL": url}
    exit_code = None
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER)
        patch.setattr(os, "environ", environment)
        try:
            started = runpy.run_path("db.py")
        except SystemExit as error:
            exit_code = int(str(error.code))
        else:
            try:
                started["create_tables"]()
            except started["StartError"] as error:
                exit_code = error.exit_code
                print(error, file=stream)  # as the lifespan logs it
            started["engine"].dispose()
    log.removeHandler(handler)
    return Start(exit_code, stream.getvalue().splitlines())


def run_python(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run Python beside a copy of the service, with these settings and no others."""
    environment = {
        key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ
    }
    with TemporaryDirectory() as folder:
        for module in ("main.py", "models.py", "db.py"):
            shutil.copy(HERE / module, folder)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def start_app(**settings: str) -> Start:
    """Start the whole app with these settings, which have to end the start."""
    done = run_python("-m", "uvicorn", "main:app", "--port", "0", **settings)
    return Start(done.returncode, done.stderr.splitlines())


@pytest.fixture
def dotenv() -> Iterator[Path]:
    """Return the path of a .env file for `start_database`. The test writes it."""
    path = FOLDER / ".env"
    yield path
    path.unlink()


# --- Requests as the OpenAPI document offers them ----------------------------------

DOCUMENT = main.app.openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]


@dataclass
class Operation:
    """An operation of the document, and how to call it."""

    name: str
    method: str
    path: str
    document: dict[str, Any]

    @property
    def statuses(self) -> set[int]:
        """Return the statuses that it declares, but for those such as 4XX."""
        declared = self.document["responses"]
        return {int(status) for status in declared if status.isdigit()}

    @property
    def has_item(self) -> bool:
        """Tell whether its path has an id besides that of the user."""
        return self.path.count("id}") > 1

    def request(
        self, user: User, ids: dict[str, str], optional: bool = True
    ) -> dict[str, Any]:
        """Return a request as the document describes it, below the path of the user.

        Its other ids are these, which may be another user's. An id that is not among
        them is one that nobody has. With optional=False the request has only the
        parameters and fields that are required.
        """
        # Below the path of a collection, "id" is that of its item.
        for path, id_name in ID_NAMES.items():
            if self.path.startswith(path) and id_name in ids:
                ids = ids | {"id": ids[id_name]}
        values: dict[str, Any] = {"path": {}, "query": {}, "header": {}, "cookie": {}}
        for parameter in self.document.get("parameters", []):
            if optional or parameter["required"]:
                name = parameter["name"]
                schema = dict(parameter["schema"])
                if "examples" in parameter:
                    schema["examples"] = parameter["examples"]
                values[parameter["in"]][name] = fill(name, schema, ids)
        if "{user_id}" in self.path:
            values["path"]["user_id"] = user.id
        headers = {name: str(value) for name, value in values["header"].items()}
        cookies = [f"{name}={value}" for name, value in values["cookie"].items()]
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        request: dict[str, Any] = {
            "method": self.method,
            "url": self.path.format(**values["path"]),
            "params": values["query"],
            "headers": headers,
        }
        for media in self.document.get("requestBody", {}).get("content", {}).values():
            body = fill(self.name, media["schema"], ids)
            required = resolved(media["schema"]).get("required")
            if required and not optional:
                body = {name: body[name] for name in required}
            request["json"] = body
        return request


OPERATIONS = [
    Operation(document["operationId"], method.upper(), path, document)
    for path, methods in DOCUMENT["paths"].items()
    for method, document in methods.items()
]
# The path of a collection, and the name of the parameter that is its item's id: from
# /users/{user_id}/todos/{todo_id} come /users/{user_id}/todos and todo_id.
ID_NAMES: dict[str, str] = {}
for path in DOCUMENT["paths"]:
    if found := re.fullmatch(r"(/users/{user_id}/.+)/{(\w+)}", path):
        ID_NAMES[found[1]] = found[2]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each operation, or each way to ask, that it takes."""
    names = metafunc.fixturenames
    if "operation" in names:
        every = [pytest.param(each, id=each.name) for each in OPERATIONS]
        metafunc.parametrize("operation", every)
    if "item_operation" in names:
        every = [
            pytest.param(each, id=each.name) for each in OPERATIONS if each.has_item
        ]
        metafunc.parametrize("item_operation", every)
    if "optional" in names:
        both = ["all parameters", "required parameters"]
        metafunc.parametrize("optional", [True, False], ids=both)


FORMATS = {
    "uuid": str(uuid4()),
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "P1D",
}


def fill(name: str, schema: dict[str, Any], ids: dict[str, str]) -> Any:
    """Return a value that a schema of the document allows.

    One of the ids, if it has the name of one, or is a UUID; else an example; else what
    the type says.
    """
    schema = resolved(schema)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            rest = dict(schema)
            [first, *_] = rest.pop(choice)
            return fill(name, first | rest, ids)
    if name in ids:
        return ids[name]
    if schema.get("format") == "uuid" and "id" in ids:
        return ids["id"]
    example = first_example(schema)
    if schema.get("type") == "array" and (name.removesuffix("s") in ids or not example):
        return [fill(name.removesuffix("s"), schema.get("items", {}), ids)]
    if "properties" in schema:
        return fill_object(schema["properties"], example, ids)
    if example is not None:
        return example
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    if schema.get("type") == "string" and not {"pattern", "format"} & schema.keys():
        text = "text".ljust(schema.get("minLength", 0), "x")
        return text[: schema.get("maxLength")]
    if schema.get("type") == "boolean":
        return True
    if schema.get("type") in ("integer", "number"):
        least = schema.get("exclusiveMinimum", 0) + 1
        return schema.get("minimum", min(least, schema.get("maximum", least)))
    raise AssertionError(
        f"The guard cannot fill in {name}: give it an example, as in "
        'Query(examples=["..."]) or, in a body, pydantic\'s Field(examples=["..."]).'
    )


def choices(schema: dict[str, Any]) -> list[Any]:
    """Return the values that a schema allows, if they are few."""
    schema = resolved(schema)
    if "anyOf" in schema:  # such as a choice or null
        schema = resolved(schema["anyOf"][0])
    if schema.get("type") == "boolean":
        return [True, False]
    return list(schema.get("enum", []))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a reference stands for, with what stands beside it."""
    while "$ref" in schema:
        beside = dict(schema)
        name = beside.pop("$ref").rpartition("/")[2]
        schema = SCHEMAS[name] | beside
    return schema


def first_example(schema: dict[str, Any]) -> Any:
    """Return the first example of a schema or a parameter, or None."""
    examples = schema.get("examples")
    if isinstance(examples, dict):  # of a parameter, by their names
        examples = [example["value"] for example in examples.values()]
    return examples[0] if examples else None


def fill_object(fields: dict[str, Any], example: Any, ids: dict[str, str]) -> Any:
    """Return an object as its example is, if it has one, but with these ids."""
    filled = {}
    for name, schema in fields.items():
        if example is None or {name, name.removesuffix("s")} & ids.keys():
            filled[name] = fill(name, schema, ids)
        elif name in example:
            with_example = resolved(schema) | {"examples": [example[name]]}
            filled[name] = fill(name, with_example, ids)
    return filled


def belongings(user: User, optional: bool = True) -> dict[str, str]:
    """Create an item in each collection; return their ids, and the user's, by name."""
    ids = {"user_id": user.id}
    for operation in OPERATIONS:
        id_name = ID_NAMES.get(operation.path)
        if operation.method == "POST" and id_name:
            answer = user.asks(**operation.request(user, ids, optional))
            assert answer.is_success, (
                f"The guard: {operation.name} answered {answer.status_code} to its own "
                f"example: {answer.text}"
            )
            created = answer.json()
            assert isinstance(created, dict) and isinstance(created.get("id"), str), (
                f"The guard: {operation.name} has to answer what it creates, with a UUID "
                "called id."
            )
            ids[id_name] = created["id"]
    return ids


def reads_everything(user: User, ids: dict[str, str]) -> dict[str, str]:
    """Return the text that each GET answers to the user and these ids, by its name.

    But not of those that answer otherwise a moment later, such as with the time.
    """
    texts = {}
    for operation in OPERATIONS:
        if operation.method == "GET":
            request = operation.request(user, ids, optional=False)
            text = user.asks(**request).text
            if user.asks(**request).text == text:
                texts[operation.name] = text
    return texts


def assert_declared(operation: Operation, answer: httpx.Response) -> None:
    """See that an answer has a status that the document tells."""
    __tracebackhide__ = True
    assert answer.status_code in operation.statuses, (
        f"The guard: {operation.name} answers {answer.status_code} and does not declare "
        "it: add it to responses={...}, and to the list of operations."
    )


# Those of routers as well. An app that is mounted below this one is not seen.
ROUTES = [
    route
    for route in iter_route_contexts(main.app.routes)
    if isinstance(route.original_route, APIRoute)
]


def route_of(request: dict[str, Any]) -> RouteContext:
    """Return the route that takes a request: the first that fits."""
    for route in ROUTES:
        takes_method = request["method"] in (route.methods or ())
        if takes_method and route.path_regex.match(request["url"]):
            return route
    raise AssertionError(f"The guard: no route takes {request}.")


# --- The audit of statements -------------------------------------------------------
#
# Every mention of a table that users own has to be accounted for. While SQLAlchemy
# compiles a statement, the audit notes each table that it writes down, together with
# what the WHERE of that part compares the owner's column to, and each piece of text
# that comes from the program as it is. Before the statement is sent, each table noted
# must be compared to a user who asks, each row written must have such an owner, and
# the SQL may mention the table no more often than was noted.

# The tables that users own, and which of their columns says whose a row is.
OWNER = {
    table.name.lower(): column.name
    for table in SQLModel.metadata.sorted_tables
    for column in table.columns
    for key in column.foreign_keys
    if key.target_fullname == "users.id"
}

REFUSAL = """The guard refuses a statement that leaves {table} open to other users.
Write {table}.{owner} == the user for each use of the table, as of_owner in main.py
does: joined by AND alone, in the WHERE of its own select, update or delete; or in the
values of each row that is inserted. An UPDATE may not set it to another user. SQL as
text, from_select and DO UPDATE are refused in any case, and an outer join needs a
subquery with the condition in it.
{sql}
{line}"""


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def audit(_: Any, __: Any, sql: str, ___: Any, context: Any, ____: Any) -> None:
    """Refuse a request's statement that leaves rows open to other users.

    Note one that is run on the event loop.
    """
    if not users_asking:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass  # it is run in a thread, as it should be
    else:
        line = line_of_the_service(traceback.extract_stack())
        faults.append(
            "The guard: a statement blocks the event loop. Write await run(...), or "
            f"make the endpoint a plain def.\n{line}"
        )
    for table, owner in OWNER.items():
        # Text that is given to the driver as it is has no compiled_parameters.
        for values in getattr(context, "compiled_parameters", [{}]):
            if is_open(table, sql, context.compiled, values):
                line = line_of_the_service(traceback.extract_stack())
                faults.append(
                    REFUSAL.format(table=table, owner=owner, sql=sql, line=line)
                )
                raise PermissionError(f"{table} is open to other users")


def is_open(table: str, sql: str, compiled: Any, values: dict[str, Any]) -> bool:
    """Tell whether a statement may reach others' rows of a table, or names it in text."""
    texts = getattr(compiled, "texts", [])
    if compiled is None:  # text from beginning to end
        texts = [sql]
    uses = [bound for name, bound in getattr(compiled, "uses", []) if name == table]
    written = written_owners(table, compiled, values)
    mentions = places_of(table, sql)
    in_texts = any(re.search(rf"\b{table}\b", text.lower()) for text in texts)
    if not (uses or written or mentions or in_texts):
        return False
    if texts or mentions > len(uses) + bool(written):
        return True
    for bound in uses:
        if not any(is_asking(value, compiled, values) for value in bound):
            return True
    return not all(is_asking(value, compiled, values) for value in written)


def is_asking(value: Any, compiled: Any, values: dict[str, Any]) -> bool:
    """Tell whether a value in a statement is the id of a user who asks."""
    if isinstance(value, sa.BindParameter):
        value = values.get(compiled.bind_names.get(value, value.key))
    return str(value) in users_asking


def places_of(table: str, sql: str) -> int:
    """Count where SQL names a table, and not a column or a label of its name."""
    before = r"\b(?:from|join|into|update|using|only)\s+\"?"
    # EXTRACT(year FROM todos.created_at) names a column.
    column = r"\"?\."
    return len(re.findall(rf"{before}{table}\b(?!{column})", sql.lower()))


def written_owners(table: str, compiled: Any, values: dict[str, Any]) -> list[Any]:
    """Return the owner of each row that an INSERT writes, and the new one of an UPDATE."""
    statement: Any = getattr(compiled, "statement", None)
    writes = isinstance(statement, sa.Insert | sa.Update)
    if not writes or statement.table.name.lower() != table:
        return []
    column = statement.table.c[OWNER[table]]
    rows: list[Any] = [statement._values or {}]
    if isinstance(statement, sa.Insert):
        rows = [row for some in statement._multi_values for row in some] or rows
    owners = []
    for row in rows:
        # By column, by name, or among the parameters of the execution.
        owner = row.get(column, row.get(column.name, values.get(column.name)))
        if isinstance(owner, sa.BindParameter) and owner.unique:
            owner = values.get(column.name)  # SQLAlchemy names a value so
        owners.append(owner)
    if isinstance(statement, sa.Update):
        return [owner for owner in owners if owner is not None]
    if re.search(r"\b(SELECT|DO UPDATE)\b", compiled.string):
        owners.append(None)  # for rows that are not among these values
    return owners


@compiles(sa.Table)
@compiles(sa.TableClause)
def note_table(table: Any, compiler: Any, **how: Any) -> Any:
    """Note a table that is written down, and what its owner's column is compared to.

    SQLAlchemy calls this for each table that it writes after FROM or the like, and
    compiler.stack[-1] is the SELECT, UPDATE or DELETE that it is in.
    """
    alias = how.get("enclosing_alias")
    use = alias if alias is not None and alias.element is table else table
    name = table.name.lower()
    bound = []
    if name in OWNER and OWNER[name] in use.c:
        part = compiler.stack[-1]["selectable"]
        bound = compared_by_and(part.whereclause, use.c[OWNER[name]])
    vars(compiler).setdefault("uses", []).append((name, bound))
    return compiler.visit_table(table, **how)


def compared_by_and(condition: Any, column: Any) -> list[Any]:
    """Return what a condition compares a column to by = and AND alone."""
    if getattr(condition, "operator", None) is operator.and_:
        values = [compared_by_and(clause, column) for clause in condition.clauses]
        return [value for some in values for value in some]
    # By hash and not by ==, which builds SQL: the columns of an annotated statement,
    # such as select(Todo), are copies with the hash of the table's own.
    compares = getattr(condition, "operator", None) is operator.eq
    if compares and hash(condition.left) == hash(column):
        return [condition.right]
    return []


@compiles(sa.TextClause)
def note_text(text: Any, compiler: Any, **how: Any) -> Any:
    """Note text of the program in the SQL."""
    vars(compiler).setdefault("texts", []).append(text.text)
    return compiler.visit_textclause(text, **how)


@compiles(sa.ColumnClause)
def note_column(column: Any, compiler: Any, **how: Any) -> Any:
    """Note a column that is text of the program: literal_column.

    Not a star, a word or a string, which SQLAlchemy itself writes so: count(*).
    """
    if column.is_literal and not re.fullmatch(r"\*|\w+|'[^']*'", column.name):
        vars(compiler).setdefault("texts", []).append(column.name)
    return compiler.visit_column(column, **how)
