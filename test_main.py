"""The specification as tests: the real app over HTTP, on SQLite, or on PostgreSQL where
TEST_DATABASE_URL is set. Its role must be able to connect to the database "postgres".
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import uvicorn
from fastapi.routing import APIRoute
from httpx import Client, Limits, Response
from sqlalchemy import event, exc, inspect, text
from sqlmodel import SQLModel, col, delete, insert

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text()
TEST_URL = os.environ.get("TEST_DATABASE_URL", "")
TEMPORARY = tempfile.TemporaryDirectory()  # removed at the end
FOLDER = Path(TEMPORARY.name)  # a SQLite file, and a copy of the service
for module in ("main.py", "models.py", "db.py"):
    shutil.copy(HERE / module, FOLDER)
SQLITE_FILE = FOLDER / "test.db"
os.environ["NEON_DATABASE_URL"] = TEST_URL or f"sqlite:///{SQLITE_FILE}"

import db  # after the database is chosen
import main
import models

needs_postgresql = pytest.mark.skipif(db.is_sqlite, reason="SQLite has no server")
DOCUMENT = main.app.openapi()
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
NOT_FOUND = {"detail": "Todo not found"}
MARKER = "Zq9xMarker"  # sent in bad input, and never to come back

# --- What the database sees ----------------------------------------------------------

wire = (FOLDER / "wire").open("a")  # a line a statement or message
opened: list[int] = []  # process ids of PostgreSQL's ends of the connections
leaks: list[str] = []
OWNER_COLUMN = {
    table.name: key.parent.name
    for table in SQLModel.metadata.tables.values()
    for key in table.foreign_keys
    if key.target_fullname == "users.id"
}


@event.listens_for(db.autocommit, "connect")
def record(connection: Any, _: Any) -> None:
    if db.is_sqlite:
        connection.set_trace_callback(
            lambda sql: print(*sql.split(), file=wire, flush=True)
        )
        opened.append(0)
    else:
        connection.pgconn.trace(wire.fileno())
        opened.append(connection.info.backend_pid)


db.engine.dispose()  # the connection that made the tables is not recorded


@event.listens_for(db.autocommit, "before_cursor_execute")
def audit(_: Any, __: Any, sql: str, *___: Any) -> None:
    """Note every statement on a user-owned table that does not name the user."""
    verb = sql.split()[0].upper()
    for table, column in OWNER_COLUMN.items():
        rule = rf"\bWHERE\b.*(?<![\w.])(?:{table}\.)?{column} = [?%]"
        if verb == "INSERT":
            rule = rf"\bINTO {table} \([^)]*\b{column}\b"
        named = re.search(rule, sql, re.DOTALL | re.IGNORECASE)
        checked = verb not in ("CREATE", "DROP", "EXPLAIN", "PRAGMA")
        if checked and re.search(rf"\b{table}\b", sql, re.IGNORECASE) and not named:
            leaks.append(sql)


def round_trips(request: Callable[[], object]) -> int:
    """Count what is sent to the database: statements, and BEGIN, COMMIT or pings."""
    start = os.fstat(wire.fileno()).st_size
    request()
    lines = Path(wire.name).read_bytes()[start:].decode().splitlines()
    if db.is_sqlite:
        return len([line for line in lines if not line.startswith("PRAGMA")])
    return len([line for line in lines if re.search(r"\tF\t\d+\t(Sync|Query)", line)])


# --- Fixtures and helpers ------------------------------------------------------------


@pytest.fixture(autouse=True)
def every_statement_names_its_user() -> Iterator[None]:
    """Fail the test that ran a statement without its user (FR-013), and print it."""
    leaks.clear()
    yield
    assert not leaks, "\n".join(leaks)


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """The app on a port of its own, and a client for as many requests as there are."""
    config = uvicorn.Config(
        main.app, port=0, log_config=None, date_header=False, timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Content-Type": "application/json"},
        timeout=60,
        limits=Limits(max_connections=None),
    ) as client:
        yield client
    server.should_exit = True
    thread.join()
    pool: Any = db.engine.pool
    assert pool.checkedin() == 0, "connections are closed at the end"


@pytest.fixture
def todos() -> str:
    """The path to the todos of a user of whom nobody has heard."""
    return f"/users/{uuid4()}/todos"


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
    return result


def create(client: Client, todos: str, **fields: Any) -> Any:
    response = client.post(todos, json={"title": "Buy milk", **fields})
    assert response.status_code == 201, response.text
    return response.json()


def together(client: Client, *requests: tuple[str, str, Any]) -> list[int]:
    """Send all requests (method, path, JSON body) at once; return their status codes."""

    def send(request: tuple[str, str, Any]) -> int:
        method, path, body = request
        return client.request(method, path, json=body).status_code

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


# --- Data model: FR-001 to FR-004 ----------------------------------------------------


def test_the_columns_are_as_specified() -> None:
    uuid, time_zone = "UUID", "TIMESTAMP WITH TIME ZONE"
    if db.is_sqlite:
        uuid, time_zone = "CHAR(32)", "DATETIME"
    columns = inspect(db.engine).get_columns("todos")
    found = {
        column["name"]: (column["type"].compile(db.engine.dialect), column["nullable"])
        for column in columns
    }
    assert found == {
        "id": (uuid, False),
        "title": ("VARCHAR(255)", False),
        "description": ("VARCHAR(2000)", True),
        "is_completed": ("BOOLEAN", False),
        "created_at": (time_zone, False),
        "user_id": (uuid, False),
    }
    assert [c["name"] for c in inspect(db.engine).get_columns("users")] == ["id"]


def test_a_todo_needs_a_user_and_goes_with_the_user(client: Client, todos: str) -> None:
    orphan = {"title": "x", "description": None, "user_id": uuid4()}
    with pytest.raises(exc.IntegrityError), db.engine.begin() as connection:
        connection.execute(insert(models.Todo), orphan)
    create(client, todos)
    user = UUID(todos.split("/")[2])
    with db.engine.begin() as connection:
        connection.execute(delete(models.User).where(col(models.User.id) == user))
    assert client.get(todos).json() == []


def test_an_index_serves_the_list_and_the_primary_key_one_todo() -> None:
    def plan(statement: Any) -> str:
        bound = statement.params(owner=uuid4(), todo_id=uuid4())
        sql = bound.compile(db.engine, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if db.is_sqlite else "EXPLAIN"
        with db.engine.connect() as connection:
            if not db.is_sqlite:
                connection.execute(text("SET LOCAL enable_seqscan = off"))
                connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            return str(connection.execute(text(f"{explain} {sql}")).all())

    listing = plan(main.LIST_TODOS)
    assert "ix_todos_user_id" in listing
    assert "Sort" not in listing and "TEMP B-TREE" not in listing
    assert re.search("Index Scan|SEARCH todos USING INDEX", plan(main.READ_TODO))


# --- Operations: FR-002 to FR-004, FR-008 to FR-012 ----------------------------------


def test_create_answers_the_new_todo_and_where_it_is(
    client: Client, todos: str
) -> None:
    before = datetime.now(UTC)
    response = client.post(todos, json={"title": "Buy milk", "description": ""})
    todo = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"{todos}/{todo['id']}"
    assert before <= datetime.fromisoformat(todo["created_at"]) <= datetime.now(UTC)
    assert todo == {
        "id": str(UUID(todo["id"])),
        "title": "Buy milk",
        "description": "",
        "is_completed": False,
        "created_at": todo["created_at"],
        "user_id": todos.split("/")[2],
    }
    assert todo["created_at"].endswith("Z")
    assert create(client, todos)["id"] != todo["id"]
    assert create(client, todos)["description"] is None


def test_every_endpoint_answers_the_same_todo(client: Client, todos: str) -> None:
    todo = create(client, todos, title=" Kauf Öl 🛢 ")
    one = f"{todos}/{todo['id']}"
    assert client.get(one).json() == todo
    assert client.get(todos).json() == [todo]
    assert client.patch(one, json={}).json() == todo
    assert client.patch(one, json={"title": todo["title"]}).json() == todo


def test_the_list_holds_all_of_the_users_todos_newest_first(
    client: Client, todos: str
) -> None:
    assert client.get(todos).json() == []
    created = [create(client, todos, title=f"{n}") for n in range(30)]
    assert client.get(todos).json() == created[::-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Buy bread"},
        {"description": "One loaf"},
        {"description": None},
        {"description": ""},
        {"is_completed": True},
        {"title": "Buy bread", "description": None, "is_completed": True},
        {},
    ],
)
def test_update_changes_the_fields_sent_and_no_other(
    client: Client, todos: str, changes: dict[str, Any]
) -> None:
    todo = create(client, todos, description="Two litres")
    other = create(client, todos)
    one = f"{todos}/{todo['id']}"
    response = client.patch(one, json=changes)
    assert response.status_code == 200
    assert response.json() == todo | changes == client.get(one).json()
    undone = client.patch(one, json={"is_completed": False}).json()
    assert undone["is_completed"] is False
    assert client.get(todos).json()[0] == other


def test_delete_removes_the_todo_for_good(client: Client, todos: str) -> None:
    todo, other = create(client, todos), create(client, todos)
    one = f"{todos}/{todo['id']}"
    response = client.delete(one)
    assert (response.status_code, response.content) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        response = client.request(method, one, json={} if method == "PATCH" else None)
        assert (response.status_code, response.json()) == (404, NOT_FOUND)
    assert client.get(todos).json() == [other]


# --- Isolation: FR-013 to FR-015 -----------------------------------------------------


def fill(schema: dict[str, Any], uuid: str) -> Any:
    """Return a value that a schema allows; where it wants a UUID, the one given."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return fill(DOCUMENT["components"]["schemas"][name], uuid)
    if schema.get("format") == "uuid":
        return uuid
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "anyOf" in schema:
        return fill(schema["anyOf"][0], uuid)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: fill(value, uuid) for name, value in properties.items()}
        case "array":
            return [fill(schema["items"], uuid)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return "text"


def call(client: Client, operation_id: str, user: str, todo_id: str) -> Response:
    """Call an operation as its own schema and examples say, with these two ids."""
    method, path, operation = OPERATIONS[operation_id]
    query = {}
    for parameter in operation.get("parameters", []):
        name, value = parameter["name"], fill(parameter["schema"], todo_id)
        value = user if name == "user_id" else value
        path = path.replace(f"{{{name}}}", str(value))
        if parameter["in"] == "query":
            query[name] = value
    content = operation.get("requestBody", {}).get("content", {})
    media = content.get("application/json")
    body = fill(media["schema"], todo_id) if media else None
    return client.request(method, path, params=query, json=body)


def test_every_route_to_a_resource_names_the_user() -> None:
    paths = {route.path for route in main.app.routes if isinstance(route, APIRoute)}
    for path in paths | set(DOCUMENT["paths"]):
        last = path.rstrip("/").rpartition("/")[2]
        if last.startswith("{") or last in OWNER_COLUMN:
            assert "{user_id}" in path


@pytest.mark.parametrize(
    "operation_id", [o for o, (_, path, _) in OPERATIONS.items() if "{todo_id}" in path]
)
def test_another_users_todo_is_not_found(
    client: Client, todos: str, operation_id: str
) -> None:
    todo = create(client, todos)
    other = create(client, f"/users/{uuid4()}/todos")["user_id"]
    theirs = call(client, operation_id, other, todo["id"])
    nobodys = call(client, operation_id, other, str(uuid4()))
    assert (theirs.status_code, theirs.json()) == (404, NOT_FOUND)
    assert theirs.content == nobodys.content
    assert theirs.headers == nobodys.headers
    assert client.get(todos).json() == [todo]


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_no_operation_shows_or_changes_anything_of_another_user(
    client: Client, todos: str, operation_id: str
) -> None:
    secret = f"secret {uuid4()}"
    todo = create(client, todos, title=secret, description=secret)
    for other in (str(uuid4()), create(client, f"/users/{uuid4()}/todos")["user_id"]):
        answer = call(client, operation_id, other, todo["id"])
        for word in (secret, todo["id"], todo["user_id"]):
            assert word not in answer.text + str(answer.headers)
    assert client.get(todos).json() == [todo]


# --- One statement, one round trip ---------------------------------------------------


def test_create_costs_two_round_trips_and_the_others_one(
    client: Client, todos: str
) -> None:
    assert round_trips(lambda: create(client, todos)) == 2
    one = f"{todos}/{create(client, todos)['id']}"
    assert round_trips(lambda: client.get(todos)) == 1
    assert round_trips(lambda: client.get(one)) == 1
    assert round_trips(lambda: client.patch(one, json={})) == 1
    assert round_trips(lambda: client.patch(one, json={"is_completed": True})) == 1
    assert round_trips(lambda: client.delete(one)) == 1


def test_several_statements_fit_in_one_transaction(client: Client, todos: str) -> None:
    owner = UUID(todos.split("/")[2])
    with pytest.raises(ZeroDivisionError), db.engine.begin() as connection:
        connection.execute(main.ADD_OWNER, {"owner": owner})
        new = {"owner": owner, "title": "x", "description": None}
        connection.execute(main.ADD_TODO, new)
        raise ZeroDivisionError
    assert client.get(todos).json() == []


# --- Many clients at once: FR-007 ----------------------------------------------------


def test_a_hundred_clients_at_once_are_all_answered(client: Client, todos: str) -> None:
    post = ("POST", todos, {"title": "x"})
    assert together(client, *[post] * 100) == [201] * 100
    ones = [f"{todos}/{todo['id']}" for todo in client.get(todos).json()]
    assert together(client, *[("GET", todos, None)] * 100) == [200] * 100
    for method, body, status in (
        ("GET", None, 200),
        ("PATCH", {"is_completed": True}, 200),
        ("DELETE", None, 204),
    ):
        requests = [(method, one, body) for one in ones]
        assert together(client, *requests) == [status] * 100
    assert client.get(todos).json() == []


def test_no_more_connections_or_threads_than_the_pool_has(
    client: Client, todos: str
) -> None:
    opened.clear()
    db.engine.dispose()
    pool: Any = db.engine.pool
    with ExitStack() as held:
        for _ in range(pool.size() - 1):
            held.enter_context(db.engine.connect())
        assert together(client, *[("GET", todos, None)] * 100) == [200] * 100
    threads = [t for t in threading.enumerate() if t.name.startswith("database")]
    assert len(opened) == len(threads) == pool.size() == db.POOL_SIZE
    assert pool.timeout() == db.TIMEOUT


def test_twenty_first_todos_of_one_user_at_once(client: Client) -> None:
    for _ in range(3):
        todos = f"/users/{uuid4()}/todos"
        assert together(client, *[("POST", todos, {"title": "x"})] * 20) == [201] * 20
        assert len(client.get(todos).json()) == 20


def test_two_updates_of_different_fields_at_once_lose_neither(
    client: Client, todos: str
) -> None:
    for _ in range(20):
        one = f"{todos}/{create(client, todos)['id']}"
        changes = {"title": "Buy bread"}, {"is_completed": True}
        together(client, *[("PATCH", one, change) for change in changes])
        todo = client.get(one).json()
        assert (todo["title"], todo["is_completed"]) == ("Buy bread", True)


# --- Bad input: FR-016 to FR-020 -----------------------------------------------------

GOOD = {
    "title_of_255": {"title": "é" * 255},
    "title_among_blanks": {"title": " \n x "},
    "description_of_2000": {"title": "x", "description": "é" * 2000},
    "description_of_blanks": {"title": "x", "description": "\n"},
    "description_null": {"title": "x", "description": None},
}
BAD = {
    "title_of_256": '{"title": "%s"}' % ("é" * 256),
    "title_null": '{"title": null}',
    "title_empty": '{"title": ""}',
    "title_of_blanks": r'{"title": " \t\n\u001f\u0085\u00a0\u2003\u3000"}',
    "title_with_nul": r'{"title": "x\u0000Zq9xMarker"}',
    "title_with_surrogate": r'{"title": "Zq9xMarker\ud800"}',
    "title_number": '{"title": 5}',
    "title_nan": '{"title": NaN}',
    "title_infinite": '{"title": 1e999}',
    "title_list": '{"title": ["Zq9xMarker"]}',
    "description_of_2001": '{"title": "x", "description": "%s"}' % ("é" * 2001),
    "description_with_nul": r'{"title": "x", "description": "\u0000"}',
    "description_with_surrogate": r'{"title": "x", "description": "\udfff"}',
    "description_object": '{"title": "x", "description": {"Zq9xMarker": -Infinity}}',
    "unknown_field": '{"title": "x", "Zq9xMarker": "Zq9xMarker"}',
    "many_unknown_fields": json.dumps({"title": "x"} | {f"{n}": n for n in range(999)}),
    "surrogate_field": r'{"title": "x", "Zq9xMarker\ud800": 1}',
    "id": '{"title": "x", "id": "11111111-1111-4111-8111-111111111111"}',
    "user_id": '{"title": "x", "user_id": "11111111-1111-4111-8111-111111111111"}',
    "created_at": '{"title": "x", "created_at": "2026-01-01T00:00:00Z"}',
    "is_completed_null": '{"title": "x", "is_completed": null}',
    "is_completed_string": '{"title": "x", "is_completed": "true"}',
    "is_completed_number": '{"title": "x", "is_completed": 1}',
    "list": '[{"title": "Zq9xMarker"}]',
    "nothing": "",
    "no_json": "title=Zq9xMarker",
    "half_json": '{"title": "Zq9xMarker',
}
UNREADABLE = {
    "not_utf8": b'{"title": "Zq9xMarker\xff"}',
    "huge_number": b'{"title": "x", "is_completed": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 60000,
}


def assert_clean(response: Response, status: int) -> None:
    """The answer is in the README, or a list, and repeats nothing that was sent."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    detail = response.json()["detail"]
    if status == 422:
        assert detail and all(set(e) == {"type", "loc", "msg"} for e in detail)
    else:
        assert f"| {status} |" in README and f"| `{response.text}` |" in README
    assert MARKER not in response.text
    assert len(response.content) < 2000


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_text_within_the_limits_is_stored_as_sent(
    client: Client, todos: str, body: dict[str, Any]
) -> None:
    todo = create(client, todos, **body)
    assert todo | body == todo
    one = f"{todos}/{create(client, todos)['id']}"
    assert client.patch(one, json=body).json() == client.get(one).json()
    assert client.get(one).json() | body == client.get(one).json()


@pytest.mark.parametrize(
    ("body", "status"),
    [(body, 422) for body in BAD.values()]
    + [(body, 400) for body in UNREADABLE.values()],
    ids=[*BAD, *UNREADABLE],
)
def test_bad_bodies_are_refused_and_change_nothing(
    client: Client, todos: str, body: str | bytes, status: int
) -> None:
    todo = create(client, todos)
    for method, url in (("POST", todos), ("PATCH", f"{todos}/{todo['id']}")):
        assert_clean(client.request(method, url, content=body), status)
    assert client.get(todos).json() == [todo]


def test_create_needs_a_title_and_takes_no_is_completed(
    client: Client, todos: str
) -> None:
    for body in ("{}", '{"description": "x"}', '{"title": "x", "is_completed": true}'):
        assert_clean(client.post(todos, content=body), 422)
    assert f"| `{client.post(todos, content='{}').text}` |" in README
    assert client.get(todos).json() == []


def test_errors_name_the_field_and_the_rule(client: Client, todos: str) -> None:
    response = client.post(todos, content='{"title": null, "x": 1, "y": 2}')
    assert [list(error.values()) for error in response.json()["detail"]] == [
        ["string_type", ["body", "title"], "Input should be a valid string"],
        ["extra_forbidden", ["body"], "Extra inputs are not permitted"],
    ]


@pytest.mark.parametrize("bad", ["5", MARKER, "%00", "%ff", "x" * 36, "%22%3E", "null"])
def test_ids_are_uuids(client: Client, todos: str, bad: str) -> None:
    for path in (f"/users/{bad}/todos", f"{todos}/{bad}"):
        response = client.get(path)
        assert_clean(response, 422)
        messages = [error["msg"] for error in response.json()["detail"]]
        assert messages == ["Input should be a valid UUID"]


def test_a_body_over_64_kib_is_refused_before_anything_is_done(
    client: Client, todos: str
) -> None:
    todo = create(client, todos)
    one = f"{todos}/{todo['id']}"
    body = b'{"title": "x"}'.ljust(64 * 1024)
    for method, url in (("PATCH", one), ("POST", todos)):
        for content in (body, iter([body[:-1], body[-1:]])):
            assert client.request(method, url, content=content).is_success
    before = client.get(todos).json()
    for method, url in (("POST", todos), ("GET", one), ("PATCH", one), ("DELETE", one)):
        for content in (body + b" ", iter([body, b" "])):
            assert_clean(client.request(method, url, content=content), 413)
    assert client.get(todos).json() == before


def test_unknown_paths_and_methods_are_errors_in_json(
    client: Client, todos: str
) -> None:
    for path in (f"/{MARKER}", f"/users/{MARKER}", f"{todos}/"):
        assert_clean(client.get(path), 404)
    for method in ("PUT", "PATCH"):
        assert_clean(client.request(method, todos), 405)


# --- The OpenAPI document ------------------------------------------------------------


def test_the_document_lists_five_operations_and_every_status() -> None:
    assert {o: set(d["responses"]) for o, (_, _, d) in OPERATIONS.items()} == {
        "create_todo": {"201", "400", "413", "422", "503"},
        "list_todos": {"200", "413", "422", "503"},
        "read_todo": {"200", "404", "413", "422", "503"},
        "update_todo": {"200", "400", "404", "413", "422", "503"},
        "delete_todo": {"204", "404", "413", "422", "503"},
    }
    for _, _, operation in OPERATIONS.values():
        assert operation["summary"] and operation["description"]
        for status, answer in operation["responses"].items():
            assert status < "400" or "application/json" in answer["content"]


def test_the_document_tells_every_rule_on_input() -> None:
    for shape, required in (("TodoCreate", ["title"]), ("TodoUpdate", None)):
        schema = DOCUMENT["components"]["schemas"][shape]
        title, description = (schema["properties"][f] for f in ("title", "description"))
        assert schema["additionalProperties"] is False
        assert schema.get("required") == required
        assert title["maxLength"] == 255 and not re.search(title["pattern"], " ")
        assert "default" not in title and "default" not in description
        assert description["anyOf"][0]["maxLength"] == 2000


def test_the_documents_examples_work_when_tried_twice(client: Client) -> None:
    user, todo_id = str(uuid4()), str(uuid4())
    for _ in range(2):
        response = call(client, "create_todo", user, todo_id)
        assert response.status_code == 201
        todo_id = response.json()["id"]
        for operation_id in ("list_todos", "read_todo", "update_todo"):
            assert call(client, operation_id, user, todo_id).status_code == 200
    for _, _, operation in OPERATIONS.values():
        for parameter in operation["parameters"]:
            [example] = parameter["examples"].values()
            assert UUID(example["value"])
    bodies = [json.loads(body) for body in re.findall("-d '(.*?)'", README)]
    for shape, body in zip(("TodoCreate", "TodoUpdate"), bodies, strict=True):
        assert DOCUMENT["components"]["schemas"][shape]["examples"] == [body]


# --- The README ----------------------------------------------------------------------


def test_the_readme_tells_the_truth_about_names_and_figures() -> None:
    assert set(re.findall(r"`(test_\w+|every_\w+)`", README)) <= set(globals())
    assert re.findall(r"^\| FR-(\d+)", README, re.MULTILINE) == [
        f"{n:03}" for n in range(1, 22)
    ]
    named = re.findall(r"^\| FR-\d+ \|[^|]*\| ([^|]*) \|", README, re.MULTILINE)
    for name in re.findall(r"`(\w+)", " ".join(named)):
        assert any(hasattr(module, name) for module in (main, models, db)), name
    assert f"up to {db.POOL_SIZE} connections" in README
    assert f"does not answer for {db.TIMEOUT} seconds" in README
    assert f"over {main.MAX_BODY_SIZE // 1024} KiB" in README


# --- Faults: FR-005, FR-006, FR-021 --------------------------------------------------


def assert_unavailable(response: Response) -> None:
    assert_clean(response, 503)
    assert response.headers["Retry-After"] == "5"


def test_a_database_that_does_not_answer_is_503(
    client: Client, todos: str, caplog: pytest.LogCaptureFixture
) -> None:
    create(client, todos)
    other: Any
    crowd = 3 if db.is_sqlite else db.POOL_SIZE + 5
    if db.is_sqlite:
        other = sqlite3.connect(SQLITE_FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        reason = "database is locked"
    else:
        other = psycopg.connect(TEST_URL)
        other.execute("LOCK TABLE todos IN ACCESS EXCLUSIVE MODE")
        reason = f"no answer in {db.TIMEOUT} s"
    with ThreadPoolExecutor(crowd) as pool:
        task = {"title": MARKER}
        posts = [pool.submit(client.post, todos, json=task) for _ in range(crowd)]
        for post in posts:
            assert_unavailable(post.result())
    other.close()
    assert f"Database unavailable: {reason}" in caplog.messages
    assert MARKER not in caplog.text
    wait_for(lambda: client.get(todos).is_success)


@needs_postgresql
def test_connections_give_up_on_a_silent_server_and_prepare_nothing() -> None:
    with db.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
    libpq = {k: int(v) for k, v in driver.info.get_parameters().items() if v.isdigit()}
    assert libpq["connect_timeout"] == 10
    assert libpq["tcp_user_timeout"] == 10_000
    assert libpq["keepalives_idle"] + libpq["keepalives_interval"] == 10
    assert driver.prepare_threshold is None


@needs_postgresql
def test_idle_connections_that_the_server_closes_are_replaced_unnoticed(
    client: Client, todos: str
) -> None:
    crowd = [("GET", todos, None)] * 50
    together(client, *crowd)
    with psycopg.connect(TEST_URL, autocommit=True) as admin:
        end_connections(admin)
    assert together(client, *crowd) == [200] * 50
    assert round_trips(lambda: client.get(todos)) == 1


def end_connections(admin: psycopg.Connection) -> None:
    """Terminate the app's connections, and wait until they are gone."""
    admin.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", (opened,))
    left = "SELECT FROM pg_stat_activity WHERE pid = ANY(%s)"
    wait_for(lambda: not admin.execute(left, (opened,)).fetchall())


@needs_postgresql
def test_a_database_that_refuses_connections_is_503_until_it_is_back(
    client: Client, todos: str, caplog: pytest.LogCaptureFixture
) -> None:
    todo = create(client, todos)
    name = str(db.url.database)
    with psycopg.connect(TEST_URL, dbname="postgres", autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            end_connections(admin)
            assert_unavailable(client.get(todos))
            assert_unavailable(client.post(todos, json={"title": MARKER}))
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert client.get(todos).json() == [todo]
    lines = [line for line in caplog.messages if line.startswith("Database")]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("Database unavailable: FATAL:") and "\n" not in line
        assert MARKER not in line and str(db.url.host) not in line


def test_a_fault_of_our_own_is_500_in_json_and_its_log_holds_no_todo(
    client: Client, todos: str, caplog: pytest.LogCaptureFixture
) -> None:
    def define(sql: str) -> None:
        with db.engine.begin() as connection:
            connection.exec_driver_sql(sql)

    title = f"{MARKER} {uuid4()}"
    define(f"CREATE UNIQUE INDEX once ON todos (user_id) WHERE title = '{title}'")
    try:
        create(client, todos, title=title)
        assert_clean(client.post(todos, json={"title": title}), 500)
    finally:
        define("DROP INDEX once")
    wait_for(lambda: "IntegrityError" in caplog.text)
    assert MARKER not in caplog.text


def start(url: str | None, workers: int = 1) -> tuple[int, str]:
    """Start a copy of the service as an operator would, and stop it once it serves.

    Return its exit code and its log.
    """
    env = {k: v for k, v in os.environ.items() if k != "NEON_DATABASE_URL"}
    if url is not None:
        env["NEON_DATABASE_URL"] = url
    options = f"-m uvicorn main:app --port 0 --workers {workers}".split()
    with subprocess.Popen(
        [sys.executable, *options],
        cwd=FOLDER,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        log = ""
        assert process.stderr
        for line in process.stderr:
            log += line
            if log.count("startup complete") == workers:
                process.terminate()
    return process.returncode, log


NONSENSE = [
    "",
    "hunter2",
    "mysql://me:hunter2@127.0.0.1/todos",
    "psql 'postgresql://me:hunter2@127.0.0.1/todos'",
    "postgresql://me:hunter2@127.0.0.1:port/todos",
    "postgresql://me:hun@ter2/x@127.0.0.1/todos",
    "postgresql://me:hunter2@127.0.0.1",
    "sqlite://",
    "sqlite:///:memory:",
]
AWAY = {
    "sqlite:////no/such/folder/todos.db": "unable to open database file",
    "postgresql://me:hunter2@127.0.0.1:1/todos": "Connection refused",
    "postgresql://me:hunter2@host..name/todos": "label empty",
}


def test_a_start_that_cannot_succeed_ends_with_one_sentence() -> None:
    urls = [*NONSENSE, *AWAY]
    with ThreadPoolExecutor(4) as pool:
        starts = list(pool.map(start, urls))
    for url, (code, log) in zip(urls, starts, strict=True):
        assert code == 3, url
        assert len(log.splitlines()) == 1 and "NEON_DATABASE_URL" in log, log
        words = AWAY.get(url, "must be postgresql://user:password@host/database")
        assert words in log and ("cannot be used" in log) == (url in AWAY), log
        assert "hunter2" not in log and "ter2/x" not in log


def test_the_log_of_a_start_says_which_database_is_in_use() -> None:
    unset = start(None)[1]
    assert "NEON_DATABASE_URL is not set: using SQLite in ./todos.db" in unset
    assert "Using sqlite database ./todos.db on this machine" in unset
    (FOLDER / ".env").write_text("NEON_DATABASE_URL=sqlite:///dotenv.db")
    assert "Using sqlite database dotenv.db" in start(None)[1]
    if TEST_URL:
        log = start(re.sub("^postgresql:", "postgres:", TEST_URL))[1]
        assert f"Using postgresql database {db.url.database} on {db.url.host}\n" in log


def test_workers_may_start_on_an_empty_database_at_once() -> None:
    SQLModel.metadata.drop_all(db.engine)
    with ThreadPoolExecutor(db.POOL_SIZE) as pool:
        for done in [pool.submit(db.create_tables) for _ in range(db.POOL_SIZE)]:
            done.result()
    log = start("sqlite:///new.db", workers=4)[1]
    assert log.count("startup complete") == 4 and "CRITICAL" not in log
    assert log.count("Using sqlite database new.db on this machine") == 4
    with sqlite3.connect(FOLDER / "new.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
