"""The specification as tests, the guard over what is added, and how they work.

The real app is asked over HTTP. It stores in a SQLite file or, if TEST_DATABASE_URL is
set, in that PostgreSQL database, whose tables are dropped first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi.routing import iter_route_contexts
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel

HERE = Path(__file__).parent
FOLDER = TemporaryDirectory()
TEST_DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "")
SQLITE_URL = f"sqlite:///{FOLDER.name}/test.db?timeout=1"
os.environ["NEON_DATABASE_URL"] = TEST_DATABASE_URL or SQLITE_URL

try:  # now that the database is chosen
    import db
    import main
    import models
except SystemExit:
    raise pytest.UsageError("TEST_DATABASE_URL cannot be used.") from None

db.logger.setLevel("INFO")
on_postgresql = pytest.mark.skipif(db.is_sqlite, reason="needs TEST_DATABASE_URL")
pytestmark = [
    # An await is missing, or SQLAlchemy warns of a cartesian product.
    pytest.mark.filterwarnings("error::RuntimeWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`"),
]
Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch
Fields = dict[str, Any]

NEW_TODO: Fields = models.TodoCreate.model_json_schema()["examples"][0]
MARKER = "Zq9xMarker"  # what no error and no line of the log may repeat


# === 1. The specification ====================================================

# --- FR-001 to FR-004: a todo, its user, and what it is given


@on_postgresql
def test_a_todo_has_these_columns() -> None:
    facts = "column_name, data_type, character_maximum_length, is_nullable"
    query = f"SELECT {facts} FROM information_schema.columns WHERE table_name = 'todos'"
    assert {tuple(row) for row in execute(sa.text(query))} >= {
        ("id", "uuid", None, "NO"),
        ("title", "character varying", 255, "NO"),
        ("description", "character varying", 2000, "YES"),
        ("is_completed", "boolean", None, "NO"),
        ("created_at", "timestamp with time zone", None, "NO"),
        ("user_id", "uuid", None, "NO"),
    }


def test_the_todos_of_a_deleted_user_are_deleted(alice: User) -> None:
    alice.creates()
    execute(sa.delete(models.User).filter_by(id=alice.key))
    assert alice.lists() == []


def test_a_hundred_first_todos_at_once_are_all_created(alice: User) -> None:
    assert alice.asks_together(100, "POST", alice.todos, json=NEW_TODO) == {201}
    assert len(alice.lists()) == 100


def test_created_at_is_now_in_utc(alice: User) -> None:
    before = datetime.now(UTC)
    todo = alice.creates()
    assert before <= datetime.fromisoformat(todo["created_at"]) <= datetime.now(UTC)
    assert todo["created_at"].endswith("Z")


def test_a_new_todo_cannot_be_completed(alice: User) -> None:
    new = NEW_TODO | {"is_completed": True}
    assert_error(alice.asks("POST", alice.todos, json=new), 422)


# --- FR-005: NEON_DATABASE_URL


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "mysql://me:hunter2@127.0.0.1/todos",
        "psql 'postgresql://me:hunter2@127.0.0.1/todos'",
        "postgresql://me:pass@hunter2@127.0.0.1/todos",
        "postgresql://me:pass@hunter2/x@127.0.0.1/todos",
        "postgresql://me:pass@/hunter2@127.0.0.1/todos",
        "postgresql://me:hunter2@127.0.0.1",  # no name of a database
        "sqlite:///:memory:",
        "sqlite:///file:hunter2?mode=memory&uri=true",
        "sqlite:///todos.db?timeout=hunter2",
    ],
)
def test_what_cannot_be_right_is_refused(url: str, monkeypatch: Patch) -> None:
    monkeypatch.setenv("NEON_DATABASE_URL", url)
    with pytest.raises((sa.exc.ArgumentError, ValueError)):
        db.read_url()


@pytest.mark.parametrize("url", ["hunter2", "postgresql://me:pass@hunter2@127.0.0.1/x"])
def test_a_refusal_ends_the_import_with_one_sentence(url: str, tmp_path: Path) -> None:
    done = run_python("import db", url, tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("NEON_DATABASE_URL must be postgresql://")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("NEON_DATABASE_URL=sqlite:///a.db", "a.db"),
        ("\ufeffNEON_DATABASE_URL=sqlite:///a.db", "a.db"),  # a byte order mark
        ("NEON_DATABASE_URL='sqlite:///a.db' # mine", "a.db"),
        ("NEON_DATABASE_URL=sqlite:///${x}.db", "${x}.db"),
        ("NEON_DATABASE_URL=sqlite:///a@b.db", "a@b.db"),
        ("NEON_DATABASE_URL=postgres://me@127.0.0.1/a", "a"),
        ("NEON_DATABASE_URL=postgresql+psycopg://me@127.0.0.1/a", "a"),
        ("OTHER=1", "./todos.db"),
    ],
)
def test_a_file_may_hold_the_url(dotenv: Path, text: str, database: str) -> None:
    dotenv.write_text(text, "utf-8")
    assert db.read_url().database == database


def test_the_file_of_a_parent_folder_is_not_taken(dotenv: Path) -> None:
    assert not dotenv.exists()
    assert db.read_url().database == "./todos.db"


def test_a_file_that_is_not_utf_8_is_refused_if_needed(dotenv: Path) -> None:
    dotenv.write_text("NEON_DATABASE_URL=sqlite:///a.db", "utf-16")
    with pytest.raises(UnicodeDecodeError):
        db.read_url()
    os.environ["NEON_DATABASE_URL"] = " sqlite:///b.db\r\n"
    assert db.read_url().database == "b.db"


def test_the_log_of_the_start_names_the_database(caplog: Log) -> None:
    db.create_tables()
    place = db.url.database if db.is_sqlite else f"{db.url.database} on {db.url.host}"
    line = f"Using {db.engine.name} database {place}"
    assert caplog.record_tuples == [("uvicorn.error", logging.INFO, line)]


@on_postgresql
@pytest.mark.parametrize(
    "setting",
    ["DateStyle = German", "TimeZone = 'Asia/Tokyo'", "client_encoding = LATIN1"],
)
def test_a_todo_reads_the_same_whatever_is_set(alice: User, setting: str) -> None:
    todo = alice.creates(title="Kauf Öl 🛢")
    with database_altered(f"SET {setting}"):
        assert alice.lists() == [todo]
        assert execute(sa.text("SHOW TimeZone")) == [("UTC",)]


# --- FR-006: a database that is away, slow, locked, silent or back


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1:1", "connection failed"), ("a..b", ".*label empty")],
)
def test_a_start_without_the_database_is_one_sentence(
    host: str, reason: str, tmp_path: Path
) -> None:
    program = "import uvicorn; uvicorn.run('main:app', port=0)"
    done = run_python(program, f"postgresql://me:hunter2@{host}/todos", tmp_path)
    assert done.returncode != 0
    sentence = f"RuntimeError: NEON_DATABASE_URL cannot be used: {reason}"
    assert re.search(sentence, done.stderr)
    assert len(done.stderr.splitlines()) <= 20
    assert "hunter2" not in done.stderr


@on_postgresql
@pytest.mark.parametrize(
    "setting", ["ALLOW_CONNECTIONS false", "SET default_transaction_read_only = on"]
)
def test_away_or_read_only_is_503(alice: User, setting: str) -> None:
    todo = alice.creates()
    with database_altered(setting):
        assert_error(alice.asks("DELETE", alice.url(todo)), 503)
    assert alice.lists() == [todo]


def test_a_lock_held_too_long_is_503(alice: User, impatient: str, caplog: Log) -> None:
    todo = alice.creates()
    with todos_locked():
        answer = alice.asks("PATCH", alice.url(todo), json={"title": MARKER})
    assert assert_error(answer, 503) == "Database unavailable"
    assert alice.lists() == [todo]
    line = f"Database unavailable: {impatient}"
    assert caplog.record_tuples == [("uvicorn.error", logging.ERROR, line)]


def test_a_transaction_waits_no_longer(impatient: str) -> None:
    given_up = pytest.raises(sa.exc.OperationalError, match=impatient)
    with todos_locked(), given_up, db.engine.begin() as connection:
        connection.execute(sa.update(models.Todo).values(title="x"))


@on_postgresql
def test_statements_given_up_end_in_the_server(alice: User, impatient: str) -> None:
    path = alice.url(alice.creates())
    alice.asks_together(50, "GET", path)
    opened.clear()
    with todos_locked() as other:
        assert alice.asks_together(10, "PATCH", path, json={"title": "x"}) == {503}
        assert User().lists() == []
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        waiting += " AND datname = current_database()"
        wait_for(lambda: not other.exec_driver_sql(waiting).all())
    alice.asks_together(50, "GET", path)
    assert len(opened) < db.POOL_SIZE


@on_postgresql
def test_what_succeeds_before_it_is_cancelled_counts(impatient: str) -> None:
    nap = "BEGIN PERFORM pg_sleep(5); EXCEPTION WHEN query_canceled THEN END"
    assert execute(sa.text(f"DO $$ {nap} $$")) == []


@on_postgresql
def test_a_connection_deaf_to_a_cancel_is_closed(impatient: str) -> None:
    nap = "BEGIN PERFORM pg_sleep(0.1); EXCEPTION WHEN query_canceled THEN END"
    deaf = f"DO $$ BEGIN FOR i IN 1..20 LOOP {nap}; END LOOP; END $$"
    with pytest.raises(sa.exc.OperationalError, match=impatient):
        execute(sa.text(deaf))
    opened.clear()
    assert execute(sa.select(1)) == [(1,)]
    assert len(opened) == 1


def test_what_gets_no_thread_is_503(alice: User, monkeypatch: Patch) -> None:
    monkeypatch.setattr(db, "TIMEOUT", 0.1)
    for _ in range(db.POOL_SIZE):
        db.threads.submit(time.sleep, 0.6)
    assert_error(alice.asks("POST", alice.todos, json=NEW_TODO), 503)
    monkeypatch.undo()
    assert alice.lists() == []


@on_postgresql
def test_if_the_first_address_is_deaf_the_next_is_used(tmp_path: Path) -> None:
    code = (HERE / "db.py").read_text("utf-8").replace("TIMEOUT = 10", "TIMEOUT = 2")
    (tmp_path / "db.py").write_text(code, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it never answers
        addresses = [f"127.0.0.1:{deaf.getsockname()[1]}"]
        addresses.append(f"{db.url.host}:{db.url.port or 5432}")
        url = db.url.set(host=None, port=None).update_query_dict({"host": addresses})
        text = url.render_as_string(hide_password=False)
        started = run_python("import db; db.create_tables()", text, tmp_path)
    assert started.returncode == 0


@on_postgresql
def test_a_connection_prepares_nothing_and_notices_silence() -> None:
    execute(sa.select(1))
    parameters = opened[-1].info.get_parameters()
    assert parameters["connect_timeout"] == "10"  # seconds
    assert parameters["tcp_user_timeout"] == "10000"  # milliseconds
    assert opened[-1].prepare_threshold is None


@on_postgresql
def test_connections_closed_while_idle_are_replaced(alice: User) -> None:
    alice.asks_together(50, "GET", alice.todos)
    with database_altered("RESET ALL"):  # this ends all connections
        assert alice.asks_together(50, "GET", alice.todos) == {200}


# --- FR-007: the pool, the tables, the import


def test_a_crowd_gets_by_with_the_connections_of_the_pool(alice: User) -> None:
    opened.clear()
    db.engine.dispose()
    assert alice.asks_together(100, "GET", alice.todos) == {200}
    assert len(opened) <= 10


@on_postgresql
def test_a_statement_is_one_round_trip(alice: User, tmp_path: Path) -> None:
    db.engine.dispose()
    todo = alice.creates()
    wire = tmp_path / "wire"
    with wire.open("w", encoding="utf-8") as file:
        opened[-1].pgconn.trace(file.fileno())
        alice.creates()
        alice.lists()
        alice.asks("GET", alice.url(todo))
        alice.updates(todo, title="x")
        alice.updates(todo)
        alice.asks("DELETE", alice.url(todo))
        opened[-1].pgconn.untrace()
    sent = re.findall(r"\tF\t\d+\t(Sync|Query)", wire.read_text("utf-8"))
    assert len(sent) == 2 + 5


def test_an_index_serves_the_list(alice: User) -> None:
    alice.lists()
    sql, parameters = executed[-1]
    with db.engine.connect() as connection:
        if not db.is_sqlite:  # it would rather read a small table as a whole
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        explain = "EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN "
        plan = str(connection.exec_driver_sql(explain + sql, parameters).all())
    assert re.search(r"ix_todos_user_id.*\(user_id ?=", plan)
    assert not re.search("Sort|TEMP B-TREE", plan)


def test_a_transaction_that_fails_writes_nothing(alice: User) -> None:
    with pytest.raises(ZeroDivisionError), db.engine.begin() as connection:
        connection.execute(insert(models.User).values(id=alice.key))
        raise ZeroDivisionError
    assert execute(sa.select(models.User).filter_by(id=alice.key)) == []


def test_ten_starts_at_once_make_the_tables(new_tables: None) -> None:
    drop_tables()
    with ThreadPoolExecutor(10) as pool:
        starts = [pool.submit(db.create_tables) for _ in range(10)]
    assert [each.exception() for each in starts] == [None] * 10


def test_a_table_without_a_column_stops_the_start(new_tables: None) -> None:
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE todos DROP COLUMN description")
    with pytest.raises(RuntimeError, match="todos has no column .*: run ALTER TABLE"):
        db.create_tables()


@pytest.mark.parametrize("url", ["postgresql://me@127.0.0.1:1/x", "sqlite:///x.db"])
def test_an_import_touches_nothing(url: str, tmp_path: Path) -> None:
    program = "import main; print(len(main.app.openapi()))"
    assert run_python(program, url, tmp_path).returncode == 0
    assert list(tmp_path.iterdir()) == []


# --- FR-008 to FR-011: create, list, update; all other tests retrieve


def test_create_answers_201_and_the_todo(alice: User) -> None:
    new = {name: NEW_TODO[name] for name in NEW_TODO if name != "description"}
    answer = alice.asks("POST", alice.todos, json=new | {"title": "Kauf Öl 🛢"})
    todo = answer.json()
    assert answer.status_code == 201
    assert UUID(todo["id"]) != UUID(alice.creates()["id"])
    assert todo["title"] == "Kauf Öl 🛢"
    assert todo["description"] is None
    assert todo["is_completed"] is False
    assert todo["user_id"] == alice.id
    assert alice.asks("GET", alice.url(todo)).json() == todo


@pytest.mark.parametrize("root_path", ["", "/api", "/api/"])
def test_create_says_where_the_todo_is(alice: User, root_path: str) -> None:
    from fastapi.testclient import TestClient  # warns of httpx when it is imported

    with TestClient(main.app, root_path=root_path) as client:
        answer = client.post(root_path + alice.todos, json=NEW_TODO, auth=alice)
    path = root_path.rstrip("/") + alice.url(answer.json())
    assert answer.headers["Location"] == path


def test_the_list_holds_all_todos_newest_first(alice: User) -> None:
    assert alice.lists() == []
    created = [alice.creates() for _ in range(101)]
    assert alice.lists() == created[::-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Buy bread"},
        {"description": "A loaf"},
        {"description": None},
        {"is_completed": False},
        {"title": "x", "description": "y", "is_completed": True},
        {},
    ],
    ids=str,
)
def test_update_changes_what_is_sent_alone(alice: User, changes: Fields) -> None:
    todo, other = alice.creates(), alice.creates()
    alice.updates(todo, is_completed=True)
    expected = todo | {"is_completed": True} | changes
    assert alice.updates(todo, **changes) == expected
    assert alice.lists() == [other, expected]


# --- FR-012 to FR-015: delete, and what is another user's; the guard says more


@pytest.mark.parametrize(
    ("method", "body"),
    [("GET", None), ("PATCH", {"title": "x"}), ("PATCH", {}), ("DELETE", None)],
)
def test_a_deleted_todo_and_another_users_are_not_found(method: str, body: Any) -> None:
    alice, bob = User(), User()
    deleted, todo = alice.creates(), alice.creates()
    assert alice.asks("DELETE", alice.url(deleted)).status_code == 204
    for user, each in [(alice, deleted), (bob, todo)]:
        answer = user.asks(method, user.url(each), json=body)
        assert_error(answer, 404)
        assert answer.content == b'{"detail":"Todo not found"}'
    assert alice.lists() == [todo]


# --- FR-016 to FR-019: what is refused, and what is stored


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, ""),
        (422, '{"title": "Zq9xMarker'),
        (422, '[{"title": "Zq9xMarker"}]'),
        (422, '{"title": null}'),
        (422, '{"title": NaN}'),
        (422, '{"title": 1e999}'),
        (422, '{"title": " \\t\\n\\u0085\\u00a0\\u2003\\u3000"}'),
        (422, '{"title": "%s"}' % ("é" * 256)),
        (422, '{"title": "Zq9xMarker\\u0000"}'),
        (422, '{"title": "Zq9xMarker\\ud800"}'),
        (422, '{"title": "x", "description": "%s"}' % ("é" * 2001)),
        (422, '{"title": "x", "description": "\\u0000"}'),
        (422, '{"title": "x", "is_completed": "true"}'),
        (422, '{"title": "x", "is_completed": 1}'),
        (422, '{"title": "x", "is_completed": null}'),
        (422, '{"title": "x", "\\ud800": "Zq9xMarker"}'),
        (422, '{"title": "x", "id": "11111111-1111-4111-8111-111111111111"}'),
        (422, '{"title": "x", "user_id": "11111111-1111-4111-8111-111111111111"}'),
        (400, b'{"title": "\xff"}'),
        (400, "[" * 60000),
    ],
    ids=ascii,
)
def test_create_and_update_refuse(alice: User, status: int, body: Any) -> None:
    todo = alice.creates()
    assert_error(alice.asks("POST", alice.todos, content=body), status)
    assert_error(alice.asks("PATCH", alice.url(todo), content=body), status)
    assert alice.lists() == [todo]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({"title": "é" * 255}, {"title": "é" * 255}),
        ({"title": "\n e\u0301\tx\u3000"}, {"title": "e\u0301\tx"}),
        ({"description": "\n" + "é" * 1999}, {"description": "\n" + "é" * 1999}),
        ({"description": ""}, {"description": ""}),
        ({"description": None}, {"description": None}),
    ],
    ids=ascii,
)
def test_what_is_sent_is_stored(alice: User, sent: Fields, stored: Fields) -> None:
    todo = alice.creates(**sent)
    changed = alice.updates(alice.creates(), **sent)
    assert todo.items() >= stored.items()
    assert changed.items() >= stored.items()
    assert alice.lists() == [changed, todo]


@pytest.mark.parametrize("path", ["/users/x%00/todos", "/users/{}/todos/%ff"])
def test_what_can_be_no_id_is_refused(alice: User, path: str) -> None:
    [problem] = assert_error(alice.asks("GET", path.format(alice.id)), 422)
    assert problem["loc"][0] == "path"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_64_kib_is_413(alice: User, chunked: bool) -> None:
    largest = json.dumps(NEW_TODO).encode().ljust(64 * 1024)
    todo = alice.asks("POST", alice.todos, content=largest).json()
    for method, path in [("POST", alice.todos), ("PATCH", alice.url(todo))]:
        body = iter([largest, b" "]) if chunked else largest + b" "
        assert alice.asks(method, path, content=body).status_code == 413
    assert alice.lists() == [todo]


# --- FR-020, FR-021: errors are JSON, and repeat nothing


@pytest.mark.parametrize("path", [f"/{MARKER}", "/docs/", "/users/x/todos/"])
def test_an_unknown_path_is_404_in_json(alice: User, path: str) -> None:
    assert_error(alice.asks("GET", path), 404)


def test_the_first_ten_problems_are_listed(alice: User) -> None:
    new = {f"unknown {number}": MARKER for number in range(11)}
    problems = assert_error(alice.asks("POST", alice.todos, json=new), 422)
    assert problems[0]["type"] == "missing"
    assert problems[0]["loc"] == ["body", "title"]
    assert len(problems) == 10


def test_a_refusal_is_500_and_logs_no_todo(alice: User, caplog: Log) -> None:
    alice.creates(title=MARKER)
    execute(sa.text(f"CREATE UNIQUE INDEX x ON todos (title) WHERE title = '{MARKER}'"))
    answer = alice.asks("POST", alice.todos, json=NEW_TODO | {"title": MARKER})
    execute(sa.text("DROP INDEX x"))
    assert assert_error(answer, 500) == "Internal server error"
    assert re.match("(?i)ERROR .* Database error: .*unique", caplog.text)
    assert "in create_todo" in caplog.text
    assert MARKER not in caplog.text


@pytest.mark.parametrize(
    "cause",
    ["PRAGMA query_only = ON", "PRAGMA max_page_count = 1", "ATTACH '/no/file' AS x"],
)
def test_sqlite_that_takes_no_more_is_unavailable(cause: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/todos.db"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    failing = pytest.raises(sa.exc.OperationalError)
    with failing as caught, engine.connect() as connection:
        connection.exec_driver_sql(cause)
        connection.exec_driver_sql("CREATE TABLE todos (id)")
    assert db.is_unavailable(caught.value)


@pytest.mark.parametrize(("query", "timeout"), [("", 10_000), ("?timeout=3", 3_000)])
def test_sqlite_waits_as_its_url_says(query: str, timeout: int, tmp_path: Path) -> None:
    ask = "db.engine.connect().exec_driver_sql('PRAGMA busy_timeout').scalar()"
    done = run_python(f"import db; print({ask})", f"sqlite:///x.db{query}", tmp_path)
    assert done.stdout == f"{timeout}\n"  # milliseconds


def test_a_missing_table_is_500(alice: User, new_tables: None) -> None:
    drop_tables()
    assert_error(alice.asks("GET", alice.todos), 500)


def test_a_fault_of_the_code_is_500(alice: User, monkeypatch: Patch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setattr(main, "run", None)
    client = TestClient(main.app, raise_server_exceptions=False)
    answer: Any = client.get(alice.todos, auth=alice)
    assert assert_error(answer, 500) == "Internal server error"


# --- The OpenAPI document


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        (main.TODOS_PATH, "post", {"201", "400", "413", "422", "503"}),
        (main.TODOS_PATH, "get", {"200", "422", "503"}),
        (main.TODO_PATH, "get", {"200", "404", "422", "503"}),
        (main.TODO_PATH, "patch", {"200", "400", "404", "413", "422", "503"}),
        (main.TODO_PATH, "delete", {"204", "404", "422", "503"}),
    ],
)
def test_the_document_tells_every_status_and_an_example(
    path: str, method: str, statuses: set[str]
) -> None:
    document = DOCUMENT["paths"][path][method]
    assert document["responses"].keys() >= statuses
    assert document["responses"]["503"]["content"]
    assert document["summary"]
    assert document["parameters"][0]["examples"]


def test_an_operation_is_named_as_its_function() -> None:
    names = {each.name for each in OPERATIONS}
    assert names >= {"create_todo", "list_todos", "read_todo"}
    assert names >= {"update_todo", "delete_todo"}


@pytest.mark.parametrize("name", ["TodoCreate", "TodoUpdate"])
def test_the_document_tells_the_rules_of_a_body(name: str) -> None:
    assert SCHEMAS[name]["examples"]
    assert SCHEMAS[name]["additionalProperties"] is False
    assert SCHEMAS[name]["properties"]["title"]["minLength"] == 1
    assert SCHEMAS[name]["properties"]["title"]["maxLength"] == 255


# === 2. The guard, over what is there and what is added ======================
#
# It takes every operation of the OpenAPI document, asks as its owner, as another
# user and as a crowd, and audits each statement. Alone: pytest -k guard. Where it
# fails, change the code and not the guard: an addition needs no edit here.
#
# It fills in an id by its name (todo_id; todo_ids in a list), in an example too,
# with the "id" that the POST of its collection answered, or else an unknown one;
# a body and a required parameter by an example, or else by a sample of its type
# (give a field pydantic's Field(examples=[...]); SQLModel's has none); and a query
# with what is required alone, and with each choice, example or sample of the rest.
# What is opaque, such as a cursor, needs an example that the service accepts.
#
# It allows the answers that the operation declares, but for 422 and 503; on ids
# that a POST answered 2xx, a redirect, 409 and 412 alone. No odd value (null, NUL,
# a long text, a large number, either end of time) may be a 500. No answer names
# another user, and no connection is held when one begins.
#
# It allows a statement in which each mention of a table that users own (by a
# user_id that refers to users.id) comes with `user_id = who asks`, by AND in the
# WHERE of the same SELECT, UPDATE or DELETE (an OR in brackets is fine), or which
# INSERTs such rows. No UPDATE sets a user_id, and nothing is text.
#
# It does not see a table without a way to users, what goes past SQLAlchemy, a
# websocket, a mounted app, or of a route that the document hides more than its path.


def test_guard_its_owner_is_answered(operation: Operation, caplog: Log) -> None:
    alice = User()
    ids = belongings(alice)
    allowed = operation.statuses
    if {"user_id"} < {*re.findall(r"{(\w+)}", operation.path)} <= ids.keys():
        allowed = {each for each in allowed if each < "400" or each in ("409", "412")}
    answer = alice.asks(**operation.request(alice, ids))
    assert str(answer.status_code) in allowed, (
        f"{operation.name}: its owner gets {answer} {answer.text} {caplog.text}\n"
        "Does its statement match? Give it an example that it accepts, or declare it."
    )


def test_guard_another_user_is_told_nothing(operation: Operation, caplog: Log) -> None:
    alice, bob, carol = User(), User(), User()
    ids = belongings(alice)
    before = everything_of(alice, ids)
    unknown = carol.asks(**operation.request(carol, {}))
    assert str(unknown.status_code) in operation.statuses, (
        f"{operation.name}: a new user gets {unknown} {unknown.text} {caplog.text}\n"
        "Record the user, as create_todo does, or declare it."
    )
    answer = bob.asks(**operation.request(bob, ids))
    assert masked(answer) == masked(unknown), (
        f"{operation.name}: another user gets {answer} {answer.text}, but an unknown "
        f"id {unknown} {unknown.text}\n"
        "Make them alike, as one_or_404 does. Is something kept for everybody?"
    )
    assert everything_of(alice, ids) == before, (
        f"{operation.name}: lets another user change what is not theirs\n"
        "Name the user in the WHERE of its statement."
    )


def test_guard_a_crowd_is_answered(operation: Operation) -> None:
    users = User(), User()
    requests = [operation.request(user, belongings(user)) for user in users]
    statuses = {str(answer.status_code) for answer in at_once(requests * 50)}
    assert statuses <= operation.statuses, (
        f"{operation.name}: answers a crowd {statuses}\n"
        "Keep nothing of a request outside of it, or declare it."
    )


ODD_VALUES = [
    None,
    2**63,
    "x\0",
    "x" * 9999,
    "2026-01-31T12:00",
    "0001-01-01T00:00+14:00",
    "9999-12-31T23:59-12:00",
]


def test_guard_odd_values_are_no_500(operation: Operation) -> None:
    alice = User()
    request = operation.request(alice, belongings(alice))
    odd = [("json", field) for field in operation.body.get("properties", {})]
    for parameter in operation.parameters:
        if parameter["in"] == "query":
            odd.append(("params", parameter["name"]))
    for part, name in odd:
        for value in ODD_VALUES:
            answer = alice.asks(**request | {part: request[part] | {name: value}})
            assert answer.status_code < 500, (
                f"{operation.name}: answers {name} of {value!r} with {answer}\n"
                "Declare in models.py what it does not take."
            )


def test_guard_every_path_with_an_id_begins_with_the_user() -> None:
    for route in iter_route_contexts(main.app.routes):
        path = str(route.path)
        assert "{" not in path or path.startswith("/users/{user_id}"), (
            f"{route.name}: its path {path} does not name the user\n"
            "Begin it with /users/{user_id}."
        )


def test_guard_every_table_says_whose_its_rows_are() -> None:
    for table in SQLModel.metadata.sorted_tables:
        refers_to = {key.column.table.name for key in table.foreign_keys}
        is_owned = "user_id" in table.columns or refers_to & {"users", *OWNED}
        assert table.name in OWNED or not is_owned, (
            f"{table.name}: the guard does not know whose its rows are\n"
            "Give it a user_id with a foreign key to users.id."
        )


OPEN = [
    "SELECT id FROM todos",
    "SELECT id FROM todos WHERE todos.title = ?",
    "SELECT id FROM todos WHERE todos.user_id != ?",
    "SELECT id FROM todos WHERE todos.user_id = ? OR todos.title = ?",
    "SELECT id FROM todos WHERE todos.user_id = ? AND 1 OR 1",
    "SELECT id FROM todos, todos AS other WHERE todos.user_id = ?",
    "SELECT id FROM todos WHERE id IN (SELECT id FROM todos WHERE todos.user_id = ?)",
    "SELECT id FROM todos WHERE todos.user_id = ? UNION SELECT id FROM todos",
    "UPDATE todos SET user_id=? WHERE todos.user_id = ?",
    "SELECT id FROM todos WHERE NOT todos.user_id = ?",
    "SELECT id FROM todos WHERE todos.user_id = ? - ?",
    "SELECT id FROM todos WHERE todos.title = ' AND todos.user_id = ?'",
    'DELETE FROM "todos"',
    "DELETE FROM todos WHERE todos.id = ?",
    "INSERT INTO todos (id, title) VALUES (?, ?)",
    "INSERT INTO todos (title, user_id) SELECT todos.title, ? FROM todos",
    "INSERT INTO todos (id, user_id) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET id=?",
]
CLOSED = [
    "SELECT id FROM todos WHERE (todos.id = ? OR todos.id = ?) AND todos.user_id = ?",
    "SELECT EXISTS (SELECT id FROM todos AS t WHERE t.user_id = %(a)s::UUID LIMIT 1)",
    "SELECT id FROM todos WHERE todos.user_id = ? AND todos.id = ? ORDER BY todos.id",
    "SELECT t.todos AS todos FROM todos AS t WHERE t.user_id = ?",
    "UPDATE todos SET title=? WHERE todos.user_id = ? AND todos.id = ?",
    "DELETE FROM todos WHERE todos.user_id = ? RETURNING id",
    "INSERT INTO todos (id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
    "INSERT INTO todos (user_id) VALUES (?) ON CONFLICT (user_id) DO UPDATE SET id=?",
]


def test_guard_refuses_what_is_open_to_others_alone() -> None:
    assert [sql for sql in OPEN + CLOSED if is_open("todos", sql)] == OPEN


def test_guard_refuses_text_others_and_blocking(monkeypatch: Patch) -> None:
    async def careless() -> None:
        with db.engine.connect() as connection:
            connection.execute(hers)

    alice, bob = User(), User()
    hers = sa.select(models.Todo).filter_by(user_id=alice.key)
    text = sa.text("SELECT id FROM todos WHERE todos.user_id = :id")
    text = text.bindparams(id=alice.id)
    monkeypatch.setitem(globals(), "under_way", [f"/users/{alice.id}"])
    execute(hers)
    with pytest.raises(PermissionError, match="leaves todos open to other users"):
        execute(text)
    with pytest.raises(PermissionError, match="blocks the event loop"):
        asyncio.run(careless())
    monkeypatch.setitem(globals(), "under_way", [f"/users/{bob.id}"])
    with pytest.raises(PermissionError, match="leaves todos open to other users"):
        execute(hers)


# --- How it asks

DOCUMENT = main.app.openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]
SAMPLES: dict[Any, Any] = {
    "integer": 1,
    "number": 1,
    "uuid": str(uuid4()),
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
}


@dataclass
class Operation:
    """An operation of the document, with a choice of its query."""

    name: str
    method: str
    path: str
    parameters: list[Fields]
    query: Fields
    body: Fields  # its schema, or nothing
    statuses: set[str]  # those it declares, but for what is never wanted

    def request(self, user: User, ids: Fields) -> Fields:
        """Return a request of a user, with these ids."""
        given: Fields = {"path": {}, "query": {}, "header": {}}
        for each in self.parameters:
            if each["required"]:
                given[each["in"]][each["name"]] = fill(each["name"], each, ids)
        request = {
            "method": self.method,
            "url": self.path.format(**given["path"] | {"user_id": user.id}),
            "params": given["query"] | self.query,
            "headers": given["header"],
            "auth": user,
        }
        if self.body:
            request["json"] = fill("body", self.body, ids)
        return request


def fill(name: str, schema: Fields, ids: Fields) -> Any:
    """Return what to send: one of the ids, an example, or a sample."""
    if name in ids:
        return ids[name]
    if name.removesuffix("s") in ids:
        return [ids[name.removesuffix("s")]]
    schema = resolved(schema)
    fields = schema.get("properties", {})
    if fields and "examples" in schema:
        example = schema["examples"][0].items()
        known: Fields = {
            field: {} for field in fields if field.removesuffix("s") in ids
        }
        fields = known | {field: {"examples": [value]} for field, value in example}
    if fields:
        return {field: fill(field, fields[field], ids) for field in fields}
    if "items" in schema and "examples" not in schema:
        return [fill(name, schema["items"], ids)]
    sample = SAMPLES.get(schema.get("format", schema.get("type")), "text")
    return [*choices(schema), schema.get("minimum", sample)][0]


def choices(schema: Fields) -> Any:
    """Return all that may be sent, if that is told, or the examples."""
    if schema.get("type") == "boolean":
        return [True, False]
    if "const" in schema:
        return [schema["const"]]
    return schema.get("examples") or schema.get("enum") or []


def queries(parameters: list[Fields]) -> Iterator[Fields]:
    """Find the ways to ask: with what is required, and with each choice of the rest."""
    yield {}
    for parameter in parameters:
        if parameter["in"] == "query":
            guess = fill(parameter["name"], parameter, {})
            for choice in choices(resolved(parameter)) or [guess]:
                yield {parameter["name"]: choice}


def resolved(schema: Fields) -> Fields:
    """Return a schema in full: of several the first, with its examples."""
    schema = schema | schema.get("schema", {})
    schema = schema | schema.get("anyOf", [{}])[0]
    schema = SCHEMAS.get(schema.get("$ref", "").rpartition("/")[2], {}) | schema
    if isinstance(schema.get("examples"), dict):  # they stand beside a parameter
        named = schema["examples"].values()
        return schema | {"examples": [example["value"] for example in named]}
    return schema


def body_of(document: Fields) -> Fields:
    """Return the schema of an operation's body, if it has one."""
    for media in document.get("requestBody", {}).get("content", {}).values():
        return resolved(media)
    return {}


OPERATIONS = [
    Operation(
        name=document["operationId"],
        method=method.upper(),
        path=path,
        parameters=document.get("parameters", []),
        query=query,
        body=body_of(document),
        statuses={*document["responses"]} - {"422", "503"},
    )
    for path, methods in DOCUMENT["paths"].items()
    for method, document in methods.items()
    for query in queries(document.get("parameters", []))
]


@pytest.fixture(params=OPERATIONS, ids=lambda each: f"{each.name}{each.query or ''}")
def operation(request: pytest.FixtureRequest) -> Any:
    """Each operation, with each choice of its query."""
    return request.param


def belongings(user: User) -> Fields:
    """Create an item in each collection; return all ids by their names."""
    ids = {"user_id": user.id}
    items = [re.fullmatch(r"(.+)/{(\w+)}", each.path) for each in OPERATIONS]
    names = {item[1]: item[2] for item in items if item}
    for operation in sorted(OPERATIONS, key=lambda each: len(each.path)):
        is_plain_post = operation.method == "POST" and not operation.query
        if is_plain_post and operation.path in names:
            answer = user.asks(**operation.request(user, ids))
            assert answer.is_success and "id" in answer.json(), (
                f"{operation.name}: its owner gets {answer} {answer.text}\n"
                "Give its body an example that it accepts, and its answer an id."
            )
            ids[names[operation.path]] = str(answer.json()["id"])
    return ids


def everything_of(user: User, ids: Fields) -> list[Any]:
    """Return what each GET answers."""
    gets = [each for each in OPERATIONS if each.method == "GET" and not each.query]
    return [masked(user.asks(**each.request(user, ids))) for each in gets]


def masked(answer: httpx.Response) -> tuple[int, list[str], str]:
    """Return an answer with its headers' names, and without ids and times."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", answer.text)
    text = re.sub(r'(?<=id":)\d+', "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "TIME", text)
    return answer.status_code, sorted(answer.headers), text


# --- How it audits

OWNED = [
    table.name
    for table in SQLModel.metadata.sorted_tables
    for key in table.foreign_keys
    if (key.parent.name, key.target_fullname) == ("user_id", "users.id")
]


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def audit(_: Any, __: Any, sql: str, parameters: Any, context: Any, ___: Any) -> None:
    """Refuse a statement that leaves rows open to others than who asks."""
    if not under_way:
        return
    executed.append((sql, parameters))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass  # no loop is running in a thread, where statements should be
    else:
        refuse(
            "a statement blocks the event loop\n"
            "Write await run(...), or make the endpoint a plain def."
        )
    statement = context.compiled and context.compiled.statement
    is_text = statement is None or isinstance(statement, sa.TextClause)
    values = str(parameters).replace("-", "")  # SQLite has ids without hyphens
    named = [each for each in everybody if each.id.replace("-", "") in values]
    paths = " ".join(under_way)
    is_asked = bool(named) and all(each.id in paths for each in named)
    for table in OWNED:
        is_named = re.search(rf"\b{table}\b", sql, re.IGNORECASE)
        if is_named and (is_text or not is_asked or is_open(table, sql)):
            refuse(
                f"a statement leaves {table} open to other users\n"
                f"Compare the user_id of each use of {table} to the user, by AND; or give "
                "it to each row of an INSERT. No text, no OR beside it, no UPDATE of it.\n"
                f"{sql}"
            )


def refuse(problem: str) -> None:
    """Note a fault, in case that the app hides the exception, and raise it."""
    faults.append(problem)
    raise PermissionError(problem)


def is_open(table: str, sql: str) -> bool:
    """Tell whether SQL reaches rows of a table without naming their owner."""
    sql = re.sub(r"%\(\w+\)s(::\w+)?", "?", " ".join(sql.replace('"', "").split()))
    rest = re.sub(r"'[^']*'", "''", sql)
    parts = []  # what stands in brackets, the innermost first
    while inner := re.search(r"\(([^()]*)\)", rest):
        rest = rest.replace(inner[0], "...")
        parts.append(inner[1])
    if sql.startswith("INSERT"):
        columns = parts[0]
        own_row = re.search(r"ON CONFLICT \([^)]*\buser_id\b[^)]*\) DO UPDATE", sql)
        is_other = "SELECT" in sql or ("DO UPDATE" in sql and not own_row)
        return is_other or "user_id" not in columns
    for part in [rest, *parts]:
        for query in re.split(" UNION ALL | UNION | INTERSECT | EXCEPT ", part):
            before, _, where = query.partition(" WHERE ")
            mention = rf"(?<!AS )(?<![\w.]){table}(?![\w.])(?: AS (\w+))?"
            for name in re.findall(mention, query):
                owner = rf"(^|AND ){name or table}\.user_id = \?( [A-Z]|$)"
                if not re.search(owner, where) or " OR " in where:
                    return True
            if re.search(r"\bSET .*\buser_id=", before):
                return True
    return False


# === 3. How it works =========================================================

everybody: list[User] = []
under_way: list[str] = []  # the paths of the requests that are being answered
executed: list[tuple[str, Any]] = []  # their SQL, with its parameters
faults: list[str] = []  # what went wrong in them, the cause first
opened: list[Any] = []  # the driver's connections


class User(httpx.Auth):
    """A user of whom the service has not heard. Every request is made by one.

    This is the place to sign requests: define `auth_flow`, as httpx.Auth describes.
    """

    def __init__(self) -> None:
        self.key = uuid4()  # as a statement takes it
        self.id = str(self.key)
        self.todos = f"/users/{self.id}/todos"
        everybody.append(self)

    def asks(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Make a request."""
        return at_once([{"method": method, "url": url, "auth": self} | more])[0]

    def asks_together(self, times: int, method: str, url: str, **more: Any) -> set[int]:
        """Make a request so many times at once; return the statuses."""
        request = {"method": method, "url": url, "auth": self} | more
        return {answer.status_code for answer in at_once([request] * times)}

    def creates(self, **fields: Any) -> Any:
        """Create a todo from NEW_TODO and these fields, and return it."""
        return self.asks("POST", self.todos, json=NEW_TODO | fields).json()

    def lists(self) -> Any:
        """Return the list of the user's todos."""
        return self.asks("GET", self.todos).json()

    def updates(self, todo: Fields, **changes: Any) -> Any:
        """Change a todo, and return it."""
        return self.asks("PATCH", self.url(todo), json=changes).json()

    def url(self, todo: Fields) -> str:
        """Return the path of a todo, below this user's."""
        return f"{self.todos}/{todo['id']}"


@pytest.fixture
def alice() -> User:
    """A user."""
    return User()


def at_once(requests: list[Any]) -> list[httpx.Response]:
    """Make requests at once, and return the answers in their order."""
    faults.clear()
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda request: http.request(**request), requests))
    wait_for(lambda: not under_way)
    if faults:
        pytest.fail(f"{requests[0]['method']} {requests[0]['url']}: {faults[-1]}")
    for answer in answers:
        others = [each for each in everybody if each.id not in answer.url.path]
        assert not any(each.id in answer.text for each in others), (
            f"{answer.request.method} {answer.url.path} shows another user's id\n"
            "Is a condition missing, or something shared by requests?"
        )
    return answers


def assert_error(answer: httpx.Response, status: int) -> Any:
    """See that an error is JSON and repeats nothing; return its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get("Retry-After") == ("5" if status == 503 else None)
    assert MARKER not in answer.text
    detail = answer.json()["detail"]
    if status == 422:
        assert all(problem.keys() == {"type", "loc", "msg"} for problem in detail)
    return detail


http = httpx.Client(
    timeout=20,
    # A connection that threads share may be closed by one while another reads.
    headers={"Content-Type": "application/json", "Connection": "close"},
    limits=httpx.Limits(max_connections=None),
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Hand a request to the app, and note what goes wrong in it."""
    if scope["type"] != "http":
        return await main.app(scope, receive, send)

    async def look_and_send(message: Any) -> None:
        pool: Any = db.engine.pool
        is_alone = message["type"] == "http.response.start" and len(under_way) == 1
        if is_alone and pool.checkedout():
            faults.append(
                f"{scope['endpoint'].__name__}: holds a connection too long\n"
                "Use run or engine.begin() inside it, no Session as a dependency."
            )
        await send(message)

    under_way.append(scope["path"])
    try:
        await main.app(scope, receive, look_and_send)
    except Exception as error:  # noqa: BLE001 (each is a fault, and fails the test)
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == main.__file__]
        last = (own or frames)[-1]
        place = f"{last.name} ({Path(last.filename).name}:{last.lineno})"
        faults.append(f"{place}: {type(error).__name__}: {error}")
    finally:
        under_way.remove(scope["path"])


@pytest.fixture(scope="session", autouse=True)
def service() -> Iterator[None]:
    """Serve the app in a thread, with new tables."""
    drop_tables()
    db.create_tables()  # if the service cannot start, this says why
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    with ThreadPoolExecutor(1) as thread, http:
        thread.submit(server.run)
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        http.base_url = httpx.URL(f"http://127.0.0.1:{port}")
        yield
        server.should_exit = True
    FOLDER.cleanup()


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until something holds that happens in another thread or process."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.001)


# --- The database


@sa.event.listens_for(db.autocommit_engine, "connect")
def note_connection(connection: Any, _: Any) -> None:
    """Note a new connection; let SQLite not wait for the disk."""
    opened.append(connection)
    if db.is_sqlite:
        connection.execute("PRAGMA synchronous = OFF")


def execute(statement: sa.Executable) -> Any:
    """Run a statement as an endpoint does."""
    return asyncio.run(db.run(statement))


def drop_tables() -> None:
    """Drop all tables of the test's database, whatever made them."""
    tables = sa.MetaData()
    tables.reflect(db.engine)
    tables.drop_all(db.engine)


@pytest.fixture
def new_tables() -> Iterator[None]:
    """Make the tables anew after a test that changes them."""
    yield
    drop_tables()
    db.create_tables()


@pytest.fixture
def impatient(monkeypatch: Patch) -> str:
    """Give a statement little time; return the reason for the log."""
    if db.is_sqlite:
        return "database is locked"  # SQLITE_URL says a second
    monkeypatch.setattr(db, "TIMEOUT", 0.5)
    return "no answer in 0.5 s"


@contextmanager
def todos_locked() -> Iterator[sa.Connection]:
    """Let nobody else write todos."""
    lock = "BEGIN IMMEDIATE" if db.is_sqlite else "LOCK TABLE todos IN SHARE MODE"
    outside = sa.create_engine(db.url)
    with outside.connect() as connection:
        connection.exec_driver_sql(lock)
        yield connection
    outside.dispose()


@contextmanager
def database_altered(setting: str) -> Iterator[None]:
    """Alter the test's database, and end its connections."""
    alter = f'ALTER DATABASE "{db.url.database}"'
    theirs = f"FROM pg_stat_activity WHERE datname = '{db.url.database}'"
    end = f"SELECT pg_terminate_backend(pid) {theirs}"
    outside = sa.create_engine(db.url.set(database="postgres"))
    with outside.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        try:
            admin.exec_driver_sql(f"{alter} {setting}")
            wait_for(lambda: not admin.exec_driver_sql(end).all())
            yield
        finally:
            admin.exec_driver_sql(f"{alter} ALLOW_CONNECTIONS true")
            admin.exec_driver_sql(f"{alter} RESET ALL")
            wait_for(lambda: not admin.exec_driver_sql(end).all())
    outside.dispose()


@pytest.fixture
def dotenv(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Return where .env is looked for; its parent folder has one too."""
    (tmp_path / ".env").write_text("NEON_DATABASE_URL=sqlite:///parent.db", "utf-8")
    (tmp_path / "code").mkdir()
    monkeypatch.delenv("NEON_DATABASE_URL")
    monkeypatch.setattr(db, "__file__", str(tmp_path / "code" / "db.py"))
    return tmp_path / "code" / ".env"


def run_python(
    program: str, url: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with this NEON_DATABASE_URL."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"NEON_DATABASE_URL": url, "PYTHONPATH": str(HERE)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
