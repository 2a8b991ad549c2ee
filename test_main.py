"""The specification as tests: the real app over HTTP, on SQLite, or on PostgreSQL where
TEST_DATABASE_URL is set. Its role must be allowed to connect to "postgres" as well."""

import asyncio
import io
import json
import logging
import os
import re
import runpy
import socket
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import uvicorn
from fastapi.routing import APIRoute
from httpx import Auth, Client, Request, Response, TransportError
from pydantic import TypeAdapter
from sqlalchemy import Engine, event, exc, inspect, text
from sqlmodel import SQLModel, col, delete, insert

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text()
TEST_URL = os.environ.get("TEST_DATABASE_URL", "")
TEMPORARY = TemporaryDirectory()  # removed at the end
FOLDER = Path(TEMPORARY.name)  # a SQLite file, and a copy of the service
for module in ("main.py", "models.py", "db.py"):
    (FOLDER / module).write_bytes((HERE / module).read_bytes())
os.environ["NEON_DATABASE_URL"] = TEST_URL or f"sqlite:///{FOLDER}/test.db?timeout=3"
log, logger = io.StringIO(), logging.getLogger("uvicorn.error")
logger.addHandler(logging.StreamHandler(log))
logger.setLevel("INFO")
logger.propagate = False  # one line of a failure says what the log would say in pages
try:  # after the database is chosen
    import db
    import main
    import models
except SystemExit:
    refused = f"TEST_DATABASE_URL cannot be used. {log.getvalue()}"
    raise pytest.Collector.CollectError(refused) from None
if os.environ.get("TEST_DATABASE_URL", "") != TEST_URL:
    refused = "TEST_DATABASE_URL is read from the environment, not from .env."
    raise pytest.Collector.CollectError(refused)

# A coroutine that nobody awaits is a fault of the request that forgot it.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
needs_postgresql = pytest.mark.skipif(db.is_sqlite, reason="SQLite has no server")
engine: Any = db.engine
ROUTES = {r.name: r for r in main.app.routes if isinstance(r, APIRoute)}
DOCUMENT = main.app.openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]
PATHS = DOCUMENT["paths"]
CALLS = [(m.upper(), path, o) for path in PATHS for m, o in PATHS[path].items()]
OPERATIONS = {operation[2]["operationId"]: operation for operation in CALLS}
every_operation = pytest.mark.parametrize("name", OPERATIONS)
NOT_FOUND = {"detail": "Todo not found"}
MARKER = "Zq9xMarker"  # sent in bad input, and never to come back

# --- Who asks ------------------------------------------------------------------------

http = Client(headers={"Content-Type": "application/json"}, timeout=20)
Call = tuple[str, str, dict[str, Any]]  # method, path, and what http.request takes
asking: list[str] = []  # the ids of the users whose requests are under way
faults: list[str] = []  # what went wrong in the service since the last request


class SignedBy(Auth):
    """Sign a request as a user. Nothing is signed before there is authentication."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        yield request


class User:
    """A user of whom the service has not heard. Every request is made as one."""

    def __init__(self) -> None:
        self.id = str(uuid4())
        self.todos = f"/users/{self.id}/todos"

    @contextmanager
    def asking(self, fails: bool = False) -> Iterator[None]:
        """Audit what the service does; show its faults, unless it fails on purpose."""
        __tracebackhide__ = True
        faults.clear()
        asking.append(self.id)
        try:
            yield
        except (OSError, TransportError) as error:  # it hangs up, or never answers
            faults.append(repr(error))
        finally:
            asking.remove(self.id)
        if faults and not fails:
            raise AssertionError("\n".join(faults[:3])) from None

    def asks(self, method: str, path: str, fails: bool = False, **more: Any) -> Any:
        answer = Response(500)
        with self.asking(fails):
            answer = http.request(method, path, auth=SignedBy(self.id), **more)
            if answer.is_server_error:
                faults.append(f"{method} {path}: {answer}")
        return answer

    def calls(self, name: str, ids: dict[str, str]) -> Any:
        method, path, more = call(name, ids)
        return self.asks(method, path, **more)

    def together(self, calls: list[Call], rounds: int = 1) -> list[int]:
        """Make all calls at once, each on its own connection, in so many rounds."""
        host, port, statuses = http.base_url.host, http.base_url.port, list[int]()
        clients = [HTTPConnection(host, port, timeout=20) for _ in calls]
        with self.asking():
            for _ in range(rounds):
                for client, (method, path, more) in zip(clients, calls, strict=True):
                    request = http.build_request(method, path, **more)
                    sent = next(SignedBy(self.id).auth_flow(request))
                    target, headers = sent.url.raw_path.decode(), dict(sent.headers)
                    client.request(method, target, sent.content, headers)
                for client in clients:
                    answer = client.getresponse()
                    answer.read()
                    statuses.append(answer.status)
                if max(statuses) >= 500:
                    faults[1:] = [f"{calls[0]} was answered {set(statuses)}"]
                    break
        return statuses

    def creates(self, **fields: Any) -> Any:
        answer = self.asks("POST", self.todos, json={"title": "Buy milk", **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def lists(self) -> Any:
        return self.asks("GET", self.todos).json()


def noting(handler: Any) -> Any:
    """Have an error handler of the app note the exception, and its line in main.py."""

    async def noted(request: Any, error: Exception) -> Any:
        answer = await handler(request, error)
        if answer.status_code >= 500:
            frames = traceback.extract_tb(error.__traceback__)[::-1]
            own = [f"{f}: {f.line}" for f in frames if f.filename == main.__file__]
            faults.insert(0, "\n".join([f"{type(error).__name__}: {error}", *own]))
        return answer

    return noted


def bare(record: logging.LogRecord) -> bool:
    record.exc_info = None  # Python 3.11 fails where two threads parse a traceback
    return True


logger.addFilter(bare)
handlers = main.app.exception_handlers
handlers.update({key: noting(handler) for key, handler in handlers.items()})

# --- What the database sees ----------------------------------------------------------

wire = (FOLDER / "wire").open("a", 1)  # a line a statement or message
opened: list[int] = []  # process ids of PostgreSQL's ends of the connections
KEYS = [key for t in SQLModel.metadata.tables.values() for key in t.foreign_keys]
OWNERS = [key.parent for key in KEYS if key.target_fullname == "users.id"]
OWNER_COLUMN = {column.table.name: column.name for column in OWNERS}


@event.listens_for(db.autocommit, "connect")
def record(driver: Any, _: Any) -> None:
    if db.is_sqlite:
        driver.set_trace_callback(lambda sql: print(*sql.split(), file=wire))
    else:
        driver.pgconn.trace(wire.fileno())
    opened.append(0 if db.is_sqlite else driver.info.backend_pid)


engine.dispose()  # the connection that made the tables is not recorded


def cases(table: str) -> list[str]:
    return re.split(r"\n| \| ", table.replace("~", "é" * 255))


def execute(statement: Any, **values: Any) -> Any:
    return asyncio.run(db.run(statement, **values))


def round_trips(request: Callable[..., object], *given: str, **more: Any) -> int:
    """Count what is sent to the database: statements, and BEGIN, COMMIT or pings."""
    os.truncate(wire.name, 0)
    request(*given, **more)
    one = r"^(?!PRAGMA)." if db.is_sqlite else r"\tF\t\d+\t(Sync|Query)"
    return len(re.findall(one, Path(wire.name).read_text(), re.MULTILINE))


END = r"\b(?:group|order|having|limit|offset|fetch|for|returning|window|on)\b"
NEXT = r"join|inner|left|right|full|cross|natural|using|set|values|select|default|where"


def open_tables(sql: str, values: Any, users: set[str]) -> list[str]:
    """Return the user-owned tables that a statement uses without naming the user.

    Each SELECT, UPDATE and DELETE has to compare the owner's column of each of them
    with the user, in its own WHERE and by AND alone; an INSERT has to have the user
    among its values. What this does not understand, it refuses.
    """
    groups: list[str] = []  # what parentheses hold, innermost first
    in_order = iter(values)

    def mark(match: re.Match[str]) -> str:
        value = values[match[1]] if match[1] else next(in_order, None)
        return "§user" if str(value).replace("-", "") in users else "§other"

    def inserted(column: str, rest: str) -> set[str | None]:
        match = re.match(r" §(\d+) (values|select)\b ?(.*)", re.split(END, rest)[0])
        rows = [match[3].split(" from ")[0]] if match else []
        if match and match[2] == "values":
            rows = [groups[int(n)] for n in re.findall(r"§(\d+)", match[3])]
        names = groups[int(match[1])].split(",") if match else []
        return {dict(zip(names, row.split(","))).get(column) for row in rows}

    sql = re.sub(r"--[^\n]*|/\*.*?\*/|\"|'[^']*'", " ", sql, flags=re.DOTALL)
    sql = re.sub(r"%\((\w+)\)s|\?|%s", mark, sql).lower()
    sql = re.sub(r"(?<=\w)::\w+|(§\w+) as \w+|\s*(,)\s*", r"\1\2", sql)
    while match := re.search(r"\(([^()]*)\)", sql):
        sql = sql.replace(match[0], f" §{len(groups)} ", 1)
        groups.append(match[1].strip())
    found = []
    for part in re.split(r"\b(?:union|except|intersect)\b|;", ";".join([*groups, sql])):
        part = " ".join(part.split())
        where = re.split(END, part.partition(" where ")[2])[0].strip()
        where = "" if re.search(r"\b(or|case)\b", where) else f" and {where} and "
        for table, column in OWNER_COLUMN.items():
            use_of = rf"(insert into )?\b{table}\b(?!\.)"
            alias = rf"(?: (?:as )?(?!{END}|(?:{NEXT})\b)(\w+))?"
            uses = list(re.finditer(use_of + alias, part))
            for use in uses:
                owner = rf"(?:{use[2] or table}\.)" + "?" * (len(uses) == 1) + column
                safe = bool(re.search(rf" and {owner} = §user and ", where))
                if use[1] and "do update" not in (rest := part[use.end() :]):
                    safe = inserted(column, rest) == {"§user"}
                found += [table] * (not safe)
    return found


@event.listens_for(Engine, "before_cursor_execute")
def audit(_: Any, __: Any, sql: str, values: Any, ___: Any, many: bool) -> None:
    """Refuse a statement that leaves a user-owned table open (FR-013)."""
    users = {user_id.replace("-", "") for user_id in asking}
    for row in (values if many else [values]) if users else ():
        for table in open_tables(sql, row, users):
            faults.append(f"""A statement leaves {table} open to other users.
For each use of it write {table}.{OWNER_COLUMN[table]} = the user, as of_user does: by
AND alone, in the WHERE of the same SELECT, UPDATE or DELETE; in an INSERT, among its
values. A LEFT JOIN takes the table from a subquery that does.\n{sql}""")
            raise PermissionError(faults[-1])


# --- The server, and calls as the document says ---------------------------------------


@pytest.fixture(scope="session", autouse=True)
def server() -> Iterator[uvicorn.Server]:
    options: Any = {"port": 0, "log_config": None, "timeout_keep_alive": 60}
    config = uvicorn.Config(main.app, date_header=False, **options)
    server, told = uvicorn.Server(config), sys.set_coroutine_origin_tracking_depth
    sys.unraisablehook = lambda what: faults.append(str(what.exc_value))
    with ThreadPoolExecutor(1, "server", told, (1,)) as pool:  # who forgot an await
        pool.submit(server.run)
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        http.base_url = f"http://127.0.0.1:{port}"
        yield server
        server.should_exit = True
    assert engine.pool.checkedin() == 0, "connections are closed at the end"


@pytest.fixture
def alice() -> User:
    return User()


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


PLAIN = {"integer": 1, "number": 1, "boolean": True, "string": "text"}


def fill(name: str, schema: dict[str, Any], ids: dict[str, str]) -> Any:
    """Return a value that a schema of the document allows; an id where it wants one."""
    match schema:
        case {"$ref": ref}:
            return fill(name, SCHEMAS[ref.rpartition("/")[2]], ids)
        case {"format": "uuid"}:
            return ids.get(name, str(uuid4()))
        case {"examples": [example, *_]} | {"enum": [example, *_]}:
            return example
        case {"anyOf": [first, *_]}:
            return fill(name, first, ids)
        case {"properties": fields}:
            return {field: fill(field, value, ids) for field, value in fields.items()}
        case {"type": "array", "items": item}:
            return [fill(name, item, ids)]
        case {"type": of} if of in PLAIN and not {"pattern", "format"} & set(schema):
            return schema.get("minimum", PLAIN[of])
    return pytest.fail(f"The tests cannot fill in {name}: give it examples=[...].")


def call(name: str, ids: dict[str, str]) -> Call:
    """Return the call of an operation as its own schema and examples say."""
    method, path, operation = OPERATIONS[name]
    given: dict[str, Any] = {"path": {}, "query": {}, "header": {}}
    for parameter in operation.get("parameters", []):
        examples = [e["value"] for e in parameter.get("examples", {}).values()]
        schema = {"examples": examples} | parameter["schema"]
        given[parameter["in"]][parameter["name"]] = fill(parameter["name"], schema, ids)
    more = {"params": given["query"], "headers": given["header"]}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        more["json"] = fill(name, media["schema"], ids)
    return method, path.format(**given["path"]), more


def belongings(user: User) -> dict[str, str]:
    """Create one of everything that the document lets a user create; return the ids."""
    ids = {"user_id": user.id}
    for name, (method, path, _) in OPERATIONS.items():
        item = re.search(re.escape(path) + r"/{(\w+)}", "\n".join(PATHS))
        if item and method == "POST" and item[1] not in ids:
            answer = user.calls(name, ids)
            assert answer.is_success, f"{name} answered {answer}: {answer.text}"
            ids[item[1]] = answer.json()["id"]
    return ids


# --- Data model: FR-001 to FR-004 ----------------------------------------------------


def test_the_columns_are_as_specified() -> None:
    uuid, moment = ("CHAR(32)", "DATETIME") if db.is_sqlite else ("UUID", "TIMESTAMP")
    columns = inspect(engine).get_columns("todos")
    assert {c["name"]: (str(c["type"]), c["nullable"]) for c in columns} == {
        "id": (uuid, False),
        "title": ("VARCHAR(255)", False),
        "description": ("VARCHAR(2000)", True),
        "is_completed": ("BOOLEAN", False),
        "created_at": (moment, False),
        "user_id": (uuid, False),
    }, "The columns of todos are others than in this table: change it as well."
    assert all(getattr(c["type"], "timezone", True) for c in columns) or db.is_sqlite
    assert [c["name"] for c in inspect(engine).get_columns("users")] == ["id"]


def test_a_todo_needs_a_user_and_goes_with_the_user(alice: User) -> None:
    with pytest.raises(exc.IntegrityError):
        execute(insert(models.Todo), title="x", description=None, user_id=uuid4())
    alice.creates()
    execute(delete(models.User).where(col(models.User.id) == UUID(alice.id)))
    assert alice.lists() == []


def test_an_index_serves_the_list_and_the_primary_key_one_todo() -> None:
    def plan(statement: Any) -> str:
        bound = statement.params(owner=uuid4(), todo_id=uuid4())
        sql = bound.compile(engine, compile_kwargs={"literal_binds": True})
        with engine.connect() as connection:
            for scan in () if db.is_sqlite else ("seqscan", "bitmapscan"):
                connection.execute(text(f"SET LOCAL enable_{scan} = off"))
            explain = "EXPLAIN QUERY PLAN" if db.is_sqlite else "EXPLAIN"
            return str(connection.execute(text(f"{explain} {sql}")).all())

    assert "ix_todos_user_id" in plan(main.LIST_TODOS)
    assert not re.search("Sort|TEMP B-TREE", plan(main.LIST_TODOS))
    assert re.search("Index Scan|SEARCH todos USING INDEX", plan(main.READ_TODO))


# --- Operations: FR-002 to FR-004, FR-008 to FR-012 ----------------------------------


@every_operation
def test_every_operation_works_for_its_owner(alice: User, name: str) -> None:
    method, path, more = call(name, belongings(alice))
    answer = alice.asks(method, path, **more)
    scope = {"type": "http", "method": method, "path": path}
    taker = next(r.name for r in ROUTES.values() if r.matches(scope)[0].name == "FULL")
    assert taker == name, f"{taker} takes the path of {name}: move {name} before it."
    assert answer.is_success, f"{name} answered its owner {answer}: {answer.text}"
    declared = OPERATIONS[name][2]["responses"]
    assert str(answer.status_code) in declared, f"{name} does not declare {answer}."
    if ROUTES[name].response_model:
        TypeAdapter(ROUTES[name].response_model).validate_json(answer.content)


def test_create_answers_the_new_todo_and_where_it_is(alice: User) -> None:
    before, new = datetime.now(UTC), {"title": " Kauf Öl 🛢 ", "description": ""}
    answer = alice.asks("POST", alice.todos, json=new)
    todo = answer.json()
    made = {"id": str(UUID(todo["id"])), "created_at": todo["created_at"]}
    given: dict[str, Any] = new | {"is_completed": False, "user_id": alice.id}
    assert todo == given | made, "A todo has other fields than this test: add yours."
    assert (answer.status_code, alice.lists()) == (201, [todo])
    assert answer.headers["Location"] == f"{alice.todos}/{todo['id']}"
    assert before <= datetime.fromisoformat(todo["created_at"]) <= datetime.now(UTC)
    assert todo["created_at"].endswith("Z")
    other = alice.creates()
    assert other["id"] != todo["id"] and other["description"] is None


def test_the_list_holds_all_of_the_users_todos_newest_first(alice: User) -> None:
    assert alice.lists() == []
    created = [alice.creates(title=f"{n}") for n in range(30)]
    assert alice.lists() == created[::-1]


def test_update_changes_the_fields_sent_and_no_other(alice: User) -> None:
    whole = {"title": "Buy bread", "description": None, "is_completed": True}
    parts: list[dict[str, Any]] = [{key: value} for key, value in whole.items()]
    for changes in [*parts, whole, {"description": ""}, {}]:
        todo, other = alice.creates(description="Two litres"), alice.creates()
        one = f"{alice.todos}/{todo['id']}"
        for answer in (alice.asks("PATCH", one, json=changes), alice.asks("GET", one)):
            assert (answer.status_code, answer.json()) == (200, todo | changes)
        assert alice.lists()[:2] == [other, todo | changes]
        undone = alice.asks("PATCH", one, json={"is_completed": False})
        assert undone.json()["is_completed"] is False


def test_delete_removes_the_todo_for_good(alice: User) -> None:
    todo, other = alice.creates(), alice.creates()
    one = f"{alice.todos}/{todo['id']}"
    answer = alice.asks("DELETE", one)
    assert (answer.status_code, answer.content) == (204, b"")
    for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        answer = alice.asks(method, one, json=body)
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert alice.lists() == [other]


# --- Isolation: FR-013 to FR-015 -----------------------------------------------------


def test_every_route_to_a_resource_names_the_user() -> None:
    for path in {route.path for route in ROUTES.values()} | set(PATHS):
        last = path.rstrip("/").rpartition("/")[2]
        if last.startswith("{") or last in OWNER_COLUMN:
            assert "{user_id}" in path, f"{path} does not name the user of it"
    for table in {*SQLModel.metadata.tables} - {"users"}:
        assert table in OWNER_COLUMN, f"No audit of {table}: no foreign key to users.id"


@every_operation
def test_no_operation_shows_or_changes_anything_of_another_user(name: str) -> None:
    alice, mallory, newcomer, path = User(), User(), User(), OPERATIONS[name][1]
    secret = f"secret {uuid4()}"
    alice.creates(title=secret, description=secret)
    mallory.creates()
    ids = belongings(alice)
    reads = [read for read, (method, _, _) in OPERATIONS.items() if method == "GET"]
    before = [alice.calls(read, ids).text for read in reads]
    for attacker in (mallory, newcomer):  # on a path of her own, with Alice's ids
        answer = attacker.calls(name, ids | {"user_id": attacker.id})
        assert answer.status_code not in (401, 403), "She may ask, and find nothing."
        for word in (secret, *ids.values()):
            assert word not in answer.text + str(answer.headers), f"{name} shows {word}"
        if path.count("{") > 1:  # what is not hers and what does not exist
            nothing = attacker.calls(name, {"user_id": attacker.id})
            assert (answer.status_code, answer.content) == (404, nothing.content)
            assert answer.headers == nothing.headers
            assert "{todo_id}" not in path or answer.json() == NOT_FOUND
    after = [alice.calls(read, ids).text for read in reads]
    assert before == after, f"{name} changes it"


@every_operation
def test_the_path_alone_names_the_user_until_there_is_authentication(name: str) -> None:
    alice, mallory = User(), User()
    method, path, more = call(name, belongings(alice))
    with alice.asking():
        assert mallory.asks(method, path, **more).is_success


SAFE = """SELECT 1 FROM todos WHERE todos.user_id = ? AND (id = 1 OR id = 2) ORDER BY id
SELECT 1 FROM todos a JOIN todos b ON a.id = b.id WHERE a.user_id = ? AND b.user_id = ?
WITH mine AS (SELECT 1 FROM todos WHERE user_id = ?) SELECT 1 FROM mine
INSERT INTO todos (title, user_id) VALUES ('a', ?), ('b', ?) RETURNING id
INSERT INTO todos (title, user_id) SELECT 'a', ? FROM users"""
OPEN = """SELECT 1 FROM todos WHERE user_id = ? OR id = 1
SELECT 1 FROM todos WHERE CASE WHEN 1 AND user_id = ? AND 1 THEN 1 END
SELECT 1 FROM todos a JOIN todos b ON a.id = b.id WHERE a.user_id = ?
SELECT 1 FROM todos a, todos b WHERE user_id = ? | DELETE FROM todos WHERE user_id <= ?
SELECT 1 FROM todos a LEFT JOIN users ON users.id = a.id AND a.user_id = ? WHERE 1 = 1
SELECT count(*) FROM todos WHERE id IN (SELECT id FROM todos WHERE user_id = ?)
SELECT 1 FROM todos t WHERE t.user_id = ? AND EXISTS (SELECT 1 FROM todos)
WITH mine AS (SELECT 1 FROM todos) SELECT 1 FROM mine WHERE user_id = ?
SELECT 1 FROM todos WHERE user_id = ? UNION SELECT 1 FROM todos
SELECT ' WHERE user_id = ? ' FROM "todos" -- WHERE user_id = ?
UPDATE todos SET user_id = ? | DELETE FROM todos USING users WHERE id = ?
INSERT INTO todos VALUES (?) | INSERT INTO todos (title, user_id) VALUES (?, 'b')
INSERT INTO todos (user_id) SELECT user_id FROM todos WHERE user_id = ?
INSERT INTO todos (user_id) VALUES (?) ON CONFLICT (id) DO UPDATE SET title = 'a'"""


def test_the_audit_refuses_what_leaves_a_table_open() -> None:
    for sql in cases(f"{SAFE}\n{OPEN}"):
        users = [uuid4().hex] * sql.count("?")
        assert bool(open_tables(sql, users, {*users})) == (sql in OPEN), sql
        assert open_tables(sql, users, {"another"}), sql


# --- Few round trips, and many clients at once: FR-007 -------------------------------


def test_create_costs_two_round_trips_and_the_others_one(alice: User) -> None:
    assert round_trips(alice.creates) == 2 and round_trips(alice.lists) == 1
    one = f"{alice.todos}/{alice.creates()['id']}"
    for method, body in (("GET", None), ("PATCH", {}), ("PATCH", {"title": "x"})):
        assert round_trips(alice.asks, method, one, json=body) == 1
    assert round_trips(alice.asks, "DELETE", one) == 1


def test_several_statements_fit_in_one_transaction(alice: User) -> None:
    new = {"owner": UUID(alice.id), "title": "x", "description": None}
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        connection.execute(main.ADD_OWNER, {"owner": UUID(alice.id)})
        connection.execute(main.ADD_TODO, new)
        raise ZeroDivisionError
    assert alice.lists() == []


@every_operation
def test_a_hundred_clients_at_once_are_all_answered(alice: User, name: str) -> None:
    ids = belongings(alice)
    row = {"title": "x", "description": "x", "user_id": UUID(alice.id)}
    execute(insert(models.Todo).values([row] * 99))
    statuses = set(alice.together([call(name, ids)] * 100, rounds=3))
    assert statuses <= {200, 201, 204, 404}, f"{name} answered {statuses}"


def test_no_more_connections_or_threads_than_the_pool_has(alice: User) -> None:
    opened.clear()
    engine.dispose()
    with ExitStack() as held:
        for _ in range(db.POOL_SIZE - 1):
            held.enter_context(engine.connect())
        assert {*alice.together([("GET", alice.todos, {})] * 100)} == {200}
    threads = [t for t in threading.enumerate() if t.name.startswith("database")]
    assert len(opened) == len(threads) == engine.pool.size() == db.POOL_SIZE
    assert engine.pool.timeout() == db.TIMEOUT


def test_twenty_first_todos_of_one_user_at_once() -> None:
    for user in (User(), User(), User()):
        post: Call = ("POST", user.todos, {"json": {"title": "x"}})
        assert user.together([post] * 20) == [201] * 20 and len(user.lists()) == 20


def test_two_updates_of_different_fields_at_once_lose_neither(alice: User) -> None:
    changes = {"title": "Buy bread", "is_completed": True}
    for _ in range(20):
        one = f"{alice.todos}/{alice.creates()['id']}"
        alice.together([("PATCH", one, {"json": {k: v}}) for k, v in changes.items()])
        assert alice.lists()[0] == alice.lists()[0] | changes


# --- Bad input: FR-016 to FR-020 -----------------------------------------------------

# Each stands after {"title": . "~" stands for 255 times é.
GOOD = r""" "~", "description": "~~~~~~~"} | " \n x ", "description": "\n"}
"x", "description": null}"""
BAD = r"""null} | ""} | " \t\n\u001f\u0085\u00a0\u2003\u3000"} | "x\u0000Zq9xMarker"}
"~x"} | 5} | NaN} | 1e999} | "Zq9xMarker\ud800"} | ["Zq9xMarker"]} | "Zq9xMarker
"x", "description": "~~~~~~~~"} | "x", "description": "\u0000"}
"x", "description": "\udfff"} | "x", "description": {"Zq9xMarker": -Infinity}}
"x", "Zq9xMarker": "Zq9xMarker"} | "x", "Zq9xMarker\ud800": 1}
"x", "id": "11111111-1111-4111-8111-111111111111"}
"x", "user_id": "11111111-1111-4111-8111-111111111111"}
"x", "created_at": "2026-01-01T00:00:00Z"} | "x", "is_completed": null}
"x", "is_completed": "true"} | "x", "is_completed": 1}"""
UNREADABLE = (b'{"title": "Zq9xMarker\xff"}', b"[" * 60000, b"[%s]" % (b"9" * 5000))


def assert_clean(answer: Response, status: int) -> Any:
    """The answer is in the README, or a list, and repeats nothing that was sent."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    detail = answer.json()["detail"]
    if status == 422:
        assert detail and all(set(e) == {"type", "loc", "msg"} for e in detail)
    else:
        assert f"| {status} |" in README and f"| `{answer.text}` |" in README
    assert MARKER not in answer.text and len(answer.content) < 2000
    return detail


def test_text_within_the_limits_is_stored_as_sent(alice: User) -> None:
    for fields in cases(GOOD):
        body = json.loads(f'{{"title": {fields}')
        todo = alice.creates(**body)
        assert todo | body == todo
        one = f"{alice.todos}/{alice.creates()['id']}"
        changed = alice.asks("PATCH", one, json=body).json()
        assert changed == alice.asks("GET", one).json() == changed | body


def test_bad_bodies_are_refused_and_change_nothing(alice: User) -> None:
    todo, many = alice.creates(), {"title": "x"} | {f"{n}": n for n in range(999)}
    others = ['[{"title": "Zq9xMarker"}]', "", "title=Zq9xMarker", json.dumps(many)]
    bad = [(f'{{"title": {case}', 422) for case in cases(BAD)]
    bad += [(body, 422) for body in others]
    for body, status in bad + [(body, 400) for body in UNREADABLE]:
        for method, path in (("POST", ""), ("PATCH", f"/{todo['id']}")):
            assert_clean(alice.asks(method, alice.todos + path, content=body), status)
    for new in ({"title": "x", "is_completed": True}, {"description": "x"}, {}):
        answer = alice.asks("POST", alice.todos, json=new)
        assert_clean(answer, 422)
    assert f"| `{answer.text}` |" in README
    assert alice.lists() == [todo]


def test_errors_name_the_field_and_the_rule(alice: User) -> None:
    blank = "String is blank, or has a character that is not allowed"
    body = {"title": " ", "description": 1, "x": 1, "y": 2}
    answer = alice.asks("POST", alice.todos, json=body).json()
    assert [list(error.values()) for error in answer["detail"]] == [
        ["string_pattern_mismatch", ["body", "title"], blank],
        ["string_type", ["body", "description"], "Input should be a valid string"],
        ["extra_forbidden", ["body"], "Extra inputs are not permitted"],
    ]


def test_ids_are_uuids(alice: User) -> None:
    for bad in ("5", MARKER, "%00", "%ff", "x" * 36, "%22%3E", "null"):
        for path in (f"/users/{bad}/todos", f"{alice.todos}/{bad}"):
            [error] = assert_clean(alice.asks("GET", path), 422)
            assert error["msg"] == "Input should be a valid UUID"


def test_a_body_over_64_kib_is_refused_before_anything_is_done(alice: User) -> None:
    one = f"{alice.todos}/{alice.creates()['id']}"
    body = b'{"title": "x"}'.ljust(64 * 1024)
    for method, path in (("PATCH", one), ("POST", alice.todos)):
        for content in (body, iter([body[:-1], body[-1:]])):
            assert alice.asks(method, path, content=content).is_success
    before = alice.lists()
    for method in ("POST", "GET", "PATCH", "DELETE"):
        for content in (body + b" ", iter([body, b" "])):
            path = alice.todos if method == "POST" else one
            assert_clean(alice.asks(method, path, content=content), 413)
    assert alice.lists() == before


def test_a_client_that_leaves_in_its_body_has_caused_nothing(server: Any) -> None:
    alice = User()
    todo, state = alice.creates(), server.server_state
    head = f"DELETE {alice.todos}/{todo['id']} HTTP/1.1\r\nHost: x\r\nContent-Length: 9"
    with socket.create_connection((http.base_url.host, http.base_url.port)) as client:
        client.sendall(f"{head}\r\n\r\n{{}}".encode())
        wait_for(lambda: state.tasks)
    wait_for(lambda: not state.tasks)
    assert not faults and alice.lists() == [todo]


def test_unknown_paths_and_methods_are_errors_in_json(alice: User) -> None:
    for path in (f"/{MARKER}", f"/users/{MARKER}", f"{alice.todos}/"):
        assert_clean(alice.asks("GET", path), 404)
    for method in ("PUT", "PATCH"):
        assert_clean(alice.asks(method, alice.todos), 405)


# --- The OpenAPI document, and the README ---------------------------------------------


def test_the_document_lists_five_operations_and_every_status() -> None:
    assert {name: set(o["responses"]) for name, (_, _, o) in OPERATIONS.items()} == {
        "create_todo": {"201", "400", "413", "422", "503"},
        "list_todos": {"200", "413", "422", "503"},
        "read_todo": {"200", "404", "413", "422", "503"},
        "update_todo": {"200", "400", "404", "413", "422", "503"},
        "delete_todo": {"204", "404", "413", "422", "503"},
    }, "The document has other operations or statuses than this list: change it, too."
    for _, _, operation in OPERATIONS.values():
        assert operation["summary"] and operation["description"]
        for status, answer in operation["responses"].items():
            assert status < "400" or "application/json" in answer["content"]


def test_the_document_tells_every_rule_on_input() -> None:
    for shape, required in (("TodoCreate", ["title"]), ("TodoUpdate", None)):
        fields = SCHEMAS[shape]["properties"]
        title, description = fields["title"], fields["description"]
        assert SCHEMAS[shape]["additionalProperties"] is False
        assert SCHEMAS[shape].get("required") == required
        assert title["maxLength"] == 255 and not re.search(title["pattern"], " ")
        assert "default" not in title and "default" not in description
        assert description["anyOf"][0]["maxLength"] == 2000


def test_the_document_has_examples_where_they_work_and_nowhere_else() -> None:
    for parameter in [p for *_, o in OPERATIONS.values() for p in o["parameters"]]:
        if parameter["schema"].get("format") == "uuid":
            is_user = parameter["name"] == "user_id"
            assert len(parameter.get("examples", {})) == is_user
    sent = [[json.loads(body)] for body in re.findall("-d '(.*?)'", README)]
    assert [SCHEMAS[s]["examples"] for s in ("TodoCreate", "TodoUpdate")] == sent


def test_the_readme_tells_the_truth_about_names_and_figures() -> None:
    assert set(re.findall(r"`(test_\w+)`", README)) <= set(globals())
    rows = re.findall(r"^\| FR-(\d+) \|[^|]*\| ([^|]*) \|", README, re.MULTILINE)
    assert [number for number, _ in rows] == [f"{n:03}" for n in range(1, 22)]
    for name in re.findall(r"`(\w+)", " ".join(names for _, names in rows)):
        assert any(hasattr(module, name) for module in (main, models, db)), name
    assert f"up to {db.POOL_SIZE} connections" in README
    assert f"{db.TIMEOUT} seconds" in README
    assert f"over {main.MAX_BODY_SIZE // 1024} KiB" in README


# --- Faults: FR-005, FR-006, FR-021 --------------------------------------------------


def assert_unavailable(answer: Response) -> None:
    assert_clean(answer, 503)
    assert answer.headers["Retry-After"] == "5"


def test_a_statement_without_an_answer_is_given_up_whole(monkeypatch: Any) -> None:
    alice, bob = User(), User()
    one, title = f"{alice.todos}/{alice.creates()['id']}", {"title": MARKER}
    connect: Any = sqlite3.connect if db.is_sqlite else psycopg.connect
    with closing(connect(TEST_URL or db.url.database)) as holder:
        if db.is_sqlite:
            reason, crowd, lock = "database is locked", 3, "BEGIN IMMEDIATE"
        else:
            monkeypatch.setattr(db, "TIMEOUT", 1)
            reason, crowd = "no answer in 1 s", 25
            lock = f"SELECT FROM todos WHERE user_id = '{alice.id}' FOR UPDATE"
        holder.execute(lock)
        late = [("PATCH", one, True)] * crowd
        with ThreadPoolExecutor(crowd) as pool:
            for answer in pool.map(lambda call: alice.asks(*call, json=title), late):
                assert_unavailable(answer)
        assert {*bob.together([("GET", bob.todos, {})] * 20)} == {200}
        wait_for(lambda: engine.pool.checkedout() == 0)  # the last has been cancelled
    assert f"Database error: {reason}\n" in log.getvalue()
    assert alice.asks("PATCH", one, json={"description": "on time"}).is_success
    assert MARKER not in log.getvalue() + str(alice.lists())


@needs_postgresql
def test_a_thread_is_free_again_where_no_cancel_helps(monkeypatch: Any) -> None:
    deaf = """DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60);
        EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$"""
    monkeypatch.setattr(db, "TIMEOUT", 1)
    with pytest.raises(TimeoutError):
        execute(text(deaf))
    wait_for(lambda: engine.pool.checkedout() == 0)
    end_connections()


@needs_postgresql
def test_connections_give_up_on_a_silent_server_and_prepare_nothing() -> None:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
    options = driver.info.get_parameters()
    assert (options["connect_timeout"], options["tcp_user_timeout"]) == ("10", "10000")
    assert options["client_encoding"] == "utf8" and driver.prepare_threshold is None


def end_connections(*_: object) -> None:
    with psycopg.connect(TEST_URL, dbname="postgres", autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) pid", (opened,))
        left = "SELECT FROM pg_stat_activity WHERE pid = ANY(%s)"
        wait_for(lambda: not admin.execute(left, (opened,)).fetchall())


@needs_postgresql
def test_connections_that_the_server_closes_are_replaced_unnoticed(alice: User) -> None:
    crowd: list[Call] = [("GET", alice.todos, {})] * 50
    alice.together(crowd)
    end_connections()
    assert {*alice.together(crowd)} == {200}
    assert round_trips(alice.lists) == 1
    end_connections()
    event.listen(db.autocommit, "connect", end_connections)  # and the replacement, too
    assert_unavailable(alice.asks("GET", alice.todos, fails=True))
    event.remove(db.autocommit, "connect", end_connections)
    assert alice.lists() == []


@needs_postgresql
def test_a_database_that_refuses_connections_is_503_until_it_is_back() -> None:
    alice, allow = User(), f'ALTER DATABASE "{db.url.database}" ALLOW_CONNECTIONS'
    todo, earlier = alice.creates(), len(log.getvalue())
    with psycopg.connect(TEST_URL, dbname="postgres", autocommit=True) as admin:
        admin.execute(f"{allow} false")
        try:
            end_connections()
            for method, body in (("GET", None), ("POST", {"title": MARKER})):
                assert_unavailable(alice.asks(method, alice.todos, True, json=body))
            code, line = start(TEST_URL)
        finally:
            admin.execute(f"{allow} true")
    assert alice.lists() == [todo]
    assert code == 1 and "cannot be used: FATAL" in line
    lines = log.getvalue()[earlier:].splitlines()
    assert len(lines) == 3 and all("FATAL: " in line for line in lines)
    assert MARKER not in str(lines) and str(db.url.host) not in str(lines)


def test_a_fault_of_our_own_is_500_in_json_and_one_line_without_a_todo() -> None:
    alice, again = User(), {"title": MARKER}
    once = f"CREATE UNIQUE INDEX once ON todos (user_id) WHERE title = '{MARKER}'"
    execute(text(once))
    try:
        alice.creates(**again)
        earlier = len(log.getvalue())
        assert_clean(alice.asks("POST", alice.todos, True, json=again), 500)
    finally:
        execute(text("DROP INDEX once"))
    line = log.getvalue()[earlier:]
    assert re.fullmatch("Database error: .*(unique|UNIQUE).*\n", line)
    assert MARKER not in line


def test_two_processes_may_change_a_file_to_wal_at_once() -> None:
    path = FOLDER / "contended.db"
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(path)) as other:
        one.execute("BEGIN EXCLUSIVE")
        other.execute("PRAGMA busy_timeout = 0")
        db.on_connect(other, None)
        one.rollback()
        db.on_connect(other, None)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# The code that a start ends with, words of its sentence, and URLs. "~" is an address.
STARTS = """3 must be: | hunter2 | mysql://~/todos | psql 'postgresql://~/todos'
3 must be: postgresql://~:port/todos | postgresql://me@127.0.0.1/todos?port=hunter2
3 must be: postgresql://me:hun@ter2/x@127.0.0.1/todos | postgresql://~
3 must be: sqlite:// | sqlite:///:memory: | sqlite://hunter2/todos.db
3 must be: sqlite:///todos.db?timeout=hunter2
3 invalid sslmode value: postgresql://~:1/todos?sslmode=bad
3 label empty: postgresql://me:hunter2@host..name/todos
3 file is not a database: sqlite:///corrupt.db
3 todos has no column title. run ALTER TABLE, or, for SQLite, delete: sqlite:///old.db
1 unable to open database file: sqlite:////no/such/folder/todos.db
1 cannot be used. Connection refused: postgresql://~:1/todos"""


def start(url: str | None) -> tuple[Any, str]:
    """Start a copy of db.py in this process; return the exit code and the log."""
    earlier, code = len(log.getvalue()), None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER)
        patch.delenv("NEON_DATABASE_URL")
        if url is not None:
            patch.setenv("NEON_DATABASE_URL", url)
        try:
            started = runpy.run_path(str(FOLDER / "db.py"))
            started["create_tables"]()
            started["engine"].dispose()
        except SystemExit as error:
            code = error.code
    return code, log.getvalue()[earlier:]


def test_a_start_that_cannot_succeed_ends_with_one_sentence() -> None:
    (FOLDER / "corrupt.db").write_text("no database, hunter2")
    with sqlite3.connect(FOLDER / "old.db") as old:
        columns = set(SQLModel.metadata.tables["todos"].columns.keys()) - {"title"}
        old.execute(f"CREATE TABLE todos ({', '.join(columns)})")
    for case in STARTS.replace("~", "me:hunter2@127.0.0.1").splitlines():
        expected, _, urls = case.partition(": ")
        for url in urls.split(" | "):
            code, line = start(url.strip())
            assert f"{code} " == expected[:2] and re.search(expected[2:], line), url
            assert line.count("\n") == 1 and "NEON_DATABASE_URL" in line
            assert "hunter2" not in line and "ter2/x" not in line
    code, line = serve("sqlite:////no/such/folder/todos.db")
    assert code == 1 and line.count("\n") == 1, line


def test_the_log_of_a_start_says_which_database_is_in_use() -> None:
    unset, using = "NEON_DATABASE_URL is not set", "using ./todos.db\n"
    default, dotenv = "Using sqlite database ./todos.db\n", FOLDER / ".env"
    assert start(None) == (None, f"{unset}: {using}{default}")
    dotenv.write_text("OTHER=1")
    assert start(None) == (None, f"{unset}, not even in .env: {using}{default}")
    line = "NEON_DATABASE_URL=sqlite:///dotenv.db"
    dotenv.write_text(line, "utf-8-sig")  # as Windows' Notepad writes it
    assert start(None) == (None, "Using sqlite database dotenv.db\n")
    assert start("sqlite:///todos.db") == (None, "Using sqlite database todos.db\n")
    dotenv.write_text(line, "utf-16")
    assert start(None)[0] == 3
    dotenv.unlink()
    if TEST_URL:
        line = f"Using postgresql database {db.url.database} on {db.url.host}\n"
        assert start(re.sub("^postgresql:", "postgres:", TEST_URL)) == (None, line)


def serve(url: str, workers: int = 1) -> tuple[int, str]:
    """Start a copy of the service as an operator would; stop it once it serves."""
    options = f"-m uvicorn main:app --port 0 --workers {workers}".split()
    command, env = [sys.executable, *options], os.environ | {"NEON_DATABASE_URL": url}
    with Popen(command, cwd=FOLDER, env=env, stderr=PIPE, text=True) as process:
        lines = ""
        for line in process.stderr or ():
            lines += line
            if lines.count("startup complete") == workers:
                process.terminate()
    return process.returncode, lines


def test_workers_may_start_on_an_empty_database_at_once() -> None:
    SQLModel.metadata.drop_all(engine)
    with ThreadPoolExecutor(db.POOL_SIZE) as pool:
        for done in [pool.submit(db.create_tables) for _ in range(db.POOL_SIZE)]:
            done.result()
    lines = serve("sqlite:///new.db", workers=4)[1]
    assert lines.count("startup complete") == 4 and "CRITICAL" not in lines
    assert lines.count("Using sqlite database new.db") == 4
    with sqlite3.connect(FOLDER / "new.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
