"""The specification as tests: the real app over HTTP, on SQLite, or on PostgreSQL where
TEST_DATABASE_URL is set. Its role must be allowed to connect to "postgres" as well."""

import asyncio
import io
import json
import logging
import os
import re
import runpy
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from operator import eq
from pathlib import Path
from subprocess import PIPE, run
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi.routing import APIRoute
from httpx import Auth, Client, Response, TransportError
from pydantic import TypeAdapter
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlmodel import SQLModel

README = Path(__file__).with_name("README.md").read_text()
TEST_URL = os.environ.get("TEST_DATABASE_URL", "")
FOLDER = Path((temporary := TemporaryDirectory()).name)  # removed at the end
for module in ("main.py", "models.py", "db.py"):
    (FOLDER / module).write_bytes(Path(__file__).with_name(module).read_bytes())
os.environ["NEON_DATABASE_URL"] = TEST_URL or f"sqlite:///{FOLDER}/test.db?timeout=3"
log, logger = io.StringIO(), logging.getLogger("uvicorn.error")
logger.addHandler(logging.StreamHandler(log))
logger.setLevel("INFO")
try:  # after the database is chosen
    import db
    import main
    import models

    if os.environ.get("TEST_DATABASE_URL", "") != TEST_URL:
        db.stop(3, "It is read from the environment, not from .env.")
except SystemExit:
    refused = f"TEST_DATABASE_URL cannot be used. {log.getvalue().splitlines()[-1]}"
    raise pytest.Collector.CollectError(refused) from None

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # a forgotten await
engine: Any = db.engine
ROUTES = [route for route in main.app.routes if isinstance(route, APIRoute)]
PATHS, SHAPES = main.app.openapi()["paths"], main.app.openapi()["components"]["schemas"]
CALLS = [(m.upper(), path, o) for path in PATHS for m, o in PATHS[path].items()]
OPERATIONS = {operation[2]["operationId"]: operation for operation in CALLS}
every_operation = pytest.mark.parametrize("name", OPERATIONS)
MARKER = "Zq9xMarker"  # sent in bad input, and never to come back

# --- Who asks, and what the database sees --------------------------------------------

HEADERS = {"Content-Type": "application/json", "Connection": "close"}
http = Client(headers=HEADERS, timeout=20)  # uvicorn closes after an exception, anyhow
config = uvicorn.Config(main.app, port=0, log_config=None, date_header=False)
server = uvicorn.Server(config)
asking: list[str] = []  # the ids of the users whose requests are under way
faults: list[str] = []  # what went wrong in the service since the last request


class User(Auth):  # which signs nothing before auth_flow is defined
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
        except TransportError as error:  # it hangs up, or never answers
            raise AssertionError("\n".join([*faults[:3], repr(error)])) from None
        finally:
            asking.remove(self.id)
        wait_for(lambda: not server.server_state.tasks)  # until all is logged
        assert fails or not faults, "\n".join(faults[:3])

    def asks(self, method: str, url: str, fails: bool = False, **more: Any) -> Any:
        with self.asking(fails):
            return http.request(method, url, auth=self, **more)

    def together(self, calls: list[dict[str, Any]]) -> set[int]:
        """Make all calls at once, each three times by a client of its own."""

        def client(call: dict[str, Any]) -> set[int]:
            with Client(base_url=http.base_url, verify=False, timeout=20) as own:
                return {own.request(auth=self, **call).status_code for _ in "123"}

        with self.asking(), ThreadPoolExecutor(len(calls)) as pool:
            return set[int]().union(*pool.map(client, calls))

    def creates(self, **fields: Any) -> Any:
        answer = self.asks("POST", self.todos, json={"title": "Buy milk", **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def lists(self) -> Any:
        return self.asks("GET", self.todos).json()


def note(record: logging.LogRecord) -> bool:
    """Note the exception that a line of the log is about, and its line in main.py."""
    if error := sys.exception():
        frames = traceback.extract_tb(error.__traceback__)[::-1]
        own = [f"{f}: {f.line}" for f in frames if f.filename == main.__file__]
        faults.append("\n".join([f"{type(error).__name__}: {error}", *own]))
    record.exc_info = None  # Python 3.11 fails where two threads parse a traceback
    return True


logger.addFilter(note)

wire = (FOLDER / "wire").open("a", 1)  # a line a statement or message
opened: list[Any] = []  # the driver's connections
FKS = [k for t in SQLModel.metadata.sorted_tables for c in t.c for k in c.foreign_keys]
OWNER = {k.parent.table.name: k.parent.name for k in FKS if str(k.column) == "users.id"}


@sa.event.listens_for(db.autocommit, "connect")
def record(driver: Any, _: Any) -> None:
    opened.append(driver)
    if db.is_sqlite:
        driver.set_trace_callback(lambda sql: print(*sql.split(), file=wire))
    else:
        driver.pgconn.trace(wire.fileno())


engine.dispose()  # the connection that made the tables is not recorded


def execute(statement: Any, **values: Any) -> Any:
    return asyncio.run(db.run(statement, **values))


def round_trips(request: Callable[..., object], *given: str, **more: Any) -> int:
    """Count what is sent to the database: statements, and BEGIN, COMMIT or pings."""
    os.truncate(wire.name, 0)
    request(*given, **more)
    one = r"^(?!PRAGMA)." if db.is_sqlite else r"\tF\t\d+\t(Sync|Query)"
    return len(re.findall(one, Path(wire.name).read_text(), re.MULTILINE))


@compiles(sa.TextClause)
@compiles(sa.Table)
def note_use(what: Any, compiler: Any, **how: Any) -> Any:
    """Note each use of a table, what its WHERE compares the owner to, and all text."""
    name, bound = getattr(what, "name", ""), []
    if name in OWNER:
        alias, part = how.get("enclosing_alias"), compiler.stack[-1]["selectable"]
        use = alias if alias is not None and alias.element is what else what
        ands: Any = sa.and_(part.whereclause, part.whereclause)  # as one flat list
        equal = [e for e in ands.clauses if getattr(e, "operator", None) is eq]
        bound = [e.right for e in equal if e.left in {use.c[OWNER[name]]}]
        bound *= not any(getattr(e, "is_literal", False) for e in ands.clauses)  # text
    vars(compiler).setdefault("uses", []).append((name, bound))
    return getattr(compiler, f"visit_{what.__visit_name__}")(what, **how)


def is_open(table: str, sql: str, made: Any, values: Any) -> bool:
    """Tell whether a statement uses a user-owned table without naming the user."""
    owner, new = OWNER[table], getattr(made, "statement", None)

    def is_user(value: Any) -> bool:
        if isinstance(value, sa.BindParameter):
            value = values.get(made.bind_names.get(value, value.key), values.get(owner))
        return str(value) in asking

    uses = [bound for name, bound in getattr(made, "uses", []) if name in (table, "")]
    safe = [any(map(is_user, bound)) for bound in uses]
    if isinstance(new, sa.Insert) and new.table.name == table:
        rows: Any = [row for rows in new._multi_values for row in rows]
        rows, column = rows or [new._values or {}], new.table.c[owner]
        ids = [row.get(column, row.get(owner, values.get(owner))) for row in rows]
        safe.append(all(map(is_user, ids)) and not re.search("SELECT|DO UPDATE", sql))
    mentions = len(re.findall(rf'\b{table}\b(?!"?\.)', sql))
    return mentions > 0 and (len(safe) != mentions or not all(safe))


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def audit(_: Any, __: Any, sql: str, ___: Any, context: Any, ____: Any) -> None:
    """Refuse a statement that leaves a user-owned table open (FR-013)."""
    if asyncio._get_running_loop():
        faults.append("A statement blocks the event loop: write await run(...).")
    for values in getattr(context, "compiled_parameters", [{}]) if asking else ():
        for table, owner in OWNER.items():
            if is_open(table, sql, context.compiled, values):
                faults.append(f"""A statement leaves {table} open to other users.
For each use write {table}.{owner} == the user, as of_user does: by AND alone, in the
WHERE of its own select, update or delete, or in the values of each row of an insert.
SQL as text, from_select and DO UPDATE are refused; outer-join a subquery.\n{sql}""")
                raise PermissionError(f"{table} is open")


# --- The server, and calls as the document says ---------------------------------------

alice = pytest.fixture(lambda: User())


@pytest.fixture(scope="session", autouse=True)
def served() -> Iterator[None]:
    depth = sys.set_coroutine_origin_tracking_depth  # who forgot an await
    sys.unraisablehook = lambda what: faults.append(str(what.exc_value))
    with ThreadPoolExecutor(1, "server", depth, (1,)) as pool:
        pool.submit(server.run)
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        http.base_url = f"http://127.0.0.1:{port}"
        yield
        server.should_exit = True
    assert engine.pool.checkedin() == 0, "connections are closed at the end"


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


PLAIN: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "string": "text"}


def fill(name: str, schema: dict[str, Any], ids: dict[str, str]) -> Any:
    """Return a value that a schema of the document allows; an id where it wants one."""
    schema = schema.get("anyOf", [{}])[0] | schema
    match SHAPES.get(schema.get("$ref", "/").rpartition("/")[2], schema):
        case {"format": "uuid"}:
            return ids.get(name, str(uuid4()))
        case {"examples": [value, *_]} | {"enum": [value, *_]}:
            return value
        case {"properties": fields}:
            return {key: fill(key, value, ids) for key, value in fields.items()}
        case {"type": kind} if kind in PLAIN and not {"pattern", "format"} & {*schema}:
            return type(PLAIN[kind])(schema.get("minimum", PLAIN[kind]))
    return pytest.fail(f"The tests cannot fill in {name}: give it examples=[...].")


def call(name: str, ids: dict[str, str], whole: bool = True) -> dict[str, Any]:
    """Return what http.request takes to call an operation as its schema says."""
    method, path, operation = OPERATIONS[name]
    given: dict[str, Any] = {"path": {}, "query": {}, "header": {}, "cookie": {}}
    for taken in operation.get("parameters", []):
        if whole or taken["required"]:
            examples = [e["value"] for e in taken.get("examples", {}).values()]
            value = fill(taken["name"], {"examples": examples} | taken["schema"], ids)
            given[taken["in"]][taken["name"]] = value
    more = {"params": given["query"], "headers": given["header"]}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        more["json"] = fill(name, media["schema"], ids)
    return {"method": method, "url": path.format(**given["path"]), **more}


def belongings(user: User) -> dict[str, str]:
    """Create one of everything that the document lets a user create; return the ids."""
    ids = {"user_id": user.id}
    for name, (method, path, _) in OPERATIONS.items():
        item = re.search(re.escape(path) + r"/{(\w+)}", "\n".join(PATHS))
        if item and method == "POST" and item[1] not in ids:
            answer = user.asks(**call(name, ids))
            assert answer.is_success, f"{name} answered {answer}: {answer.text}"
            ids[item[1]] = answer.json()["id"]
    return ids


# --- Data model and operations: FR-001 to FR-004, FR-008 to FR-012 -------------------


def test_the_columns_are_as_specified() -> None:
    uuid, moment = ("CHAR(32)", "DATETIME") if db.is_sqlite else ("UUID", "TIMESTAMP")
    text = "title VARCHAR(255), description VARCHAR(2000) NULL, is_completed BOOLEAN"
    expected = f"id {uuid}, {text}, created_at {moment}, user_id {uuid}"
    columns = sa.inspect(engine).get_columns("todos")
    found = [f"{c['name']} {c['type']}{' NULL' * c['nullable']}" for c in columns]
    assert ", ".join(found) == expected, "Other columns: change this test as well."
    assert all(getattr(c["type"], "timezone", True) for c in columns) or db.is_sqlite
    assert [c["name"] for c in sa.inspect(engine).get_columns("users")] == ["id"]


def test_a_todo_needs_a_user_and_goes_with_the_user(alice: User) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        execute(insert(models.Todo), title="x", description=None, user_id=uuid4())
    alice.creates()
    execute(sa.delete(models.User).filter_by(id=UUID(alice.id)))
    assert alice.lists() == []


def test_an_index_serves_the_list() -> None:
    statement: Any = main.LIST_TODOS.params(owner=uuid4())
    sql = statement.compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        for scan in () if db.is_sqlite else ("seqscan", "bitmapscan"):
            connection.exec_driver_sql(f"SET LOCAL enable_{scan} = off")
        explain = f"EXPLAIN {'QUERY PLAN ' * db.is_sqlite}{sql}"
        plan = str(connection.exec_driver_sql(explain).all())
    assert re.search(r"(Cond:|_user_id) \(user_id ?=", plan)
    assert not re.search("Sort|TEMP", plan)


@every_operation
def test_every_operation_works_for_its_owner(alice: User, name: str) -> None:
    for whole in (True, False):
        asked = call(name, belongings(alice), whole)
        answer = alice.asks(**asked)
        scope = {"type": "http", "method": asked["method"], "path": asked["url"]}
        taker = next(r for r in ROUTES if r.matches(scope)[0].name == "FULL")
        assert taker.name == name, f"{taker.name} takes its path: move {name} up."
        assert answer.is_success, f"{name} answered its owner {answer}: {answer.text}"
        declared = OPERATIONS[name][2]["responses"]
        assert str(answer.status_code) in declared, f"{name} does not declare {answer}."
        if taker.response_model:
            TypeAdapter(taker.response_model).validate_json(answer.content)


def test_create_answers_the_new_todo_and_where_it_is(alice: User) -> None:
    before, new = datetime.now(UTC), {"title": " Kauf Öl 🛢 ", "description": ""}
    answer = alice.asks("POST", alice.todos, json=new)
    todo, other = answer.json(), alice.creates()
    id, created_at = str(UUID(todo["id"])), todo["created_at"]
    made: dict[str, Any] = {"id": id, "created_at": created_at, "user_id": alice.id}
    made |= new | {"is_completed": False}
    assert todo == made, "A todo has other fields than this test: add yours."
    assert (answer.status_code, alice.lists()) == (201, [other, todo])
    assert answer.headers["Location"] == f"{alice.todos}/{id}" != other["id"]
    assert before <= datetime.fromisoformat(created_at) <= datetime.now(UTC)
    assert created_at.endswith("Z") and other["description"] is None


def test_the_list_holds_all_of_the_users_todos_newest_first(alice: User) -> None:
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
        detail = assert_clean(alice.asks(method, one, json=body), 404)
        assert (detail, alice.lists()) == ("Todo not found", [other])


# --- Isolation: FR-013 to FR-015 -----------------------------------------------------


def test_every_route_to_a_resource_names_the_user() -> None:
    for path in (route.path for route in ROUTES):
        last = path.rstrip("/").rpartition("/")[2]
        if last.startswith("{") or last in OWNER:
            assert "{user_id}" in path, f"{path} does not name the user of it"
    for table in {*SQLModel.metadata.tables} - {"users"}:
        assert table in OWNER, f"No audit of {table}: no foreign key to users.id"


@every_operation
def test_no_operation_shows_or_changes_anything_of_another_user(name: str) -> None:
    alice, mallory, newcomer, secret = User(), User(), User(), f"secret {uuid4()}"
    alice.creates(title=secret, description=secret)
    mallory.creates()
    ids = belongings(alice)
    reads = [call(n, ids, False) for n, o in OPERATIONS.items() if o[0] == "GET"]
    before = [alice.asks(**read).text for read in reads]
    for attacker, whole in ((mallory, True), (newcomer, False)):
        own = {"user_id": attacker.id}  # a path of her own, with Alice's ids
        answer = attacker.asks(**call(name, ids | own, whole))
        assert answer.status_code not in (401, 403), "She may ask, and find nothing."
        for word in (secret, *ids.values()):
            assert word not in answer.text + str(answer.headers), f"{name} shows {word}"
        if OPERATIONS[name][1].count("{") > 1:  # the same as for what does not exist
            nothing = attacker.asks(**call(name, own, whole))
            same = (404, nothing.text, nothing.headers)
            assert (answer.status_code, answer.text, answer.headers) == same
            assert "Todo not found" in answer.text or "/todos/" not in str(answer.url)
    assert before == [alice.asks(**read).text for read in reads], f"{name} changes it"
    with alice.asking():  # the path alone names the user until there is authentication
        assert mallory.asks(**call(name, ids)).is_success


def test_the_audit_refuses_what_leaves_a_table_open(alice: User) -> None:
    todos, user_id = SQLModel.metadata.tables["todos"], UUID(alice.id)
    one, two = todos.alias(), todos.alias()
    mine, my_one, my_two = (table.c.user_id == user_id for table in (todos, one, two))
    ids, pairs = sa.select(todos.c.id), sa.select(one).join(two, one.c.id == two.c.id)
    named, others = todos.c.title == "x", sa.exists().where(one.c.id == todos.c.id)
    new: Any = {"title": alice.creates()["title"], "user_id": user_id}
    add, rename = insert(todos), sa.update(todos).values(title="x")
    safe: list[Any] = [pairs.where(my_one, my_two), rename.where(mine)]
    safe += [ids.where(mine, sa.or_(named, ~named)), add.values([new, new])]
    safe += [sa.select(ids.where(mine).cte())]
    bad: list[Any] = [sa.text("SELECT 1 FROM todos"), sa.select(ids.cte())]
    bad += [ids.where(mine, sa.literal_column("1 OR 1")), pairs.where(my_one)]
    bad += [ids.where(mine).suffix_with("OR 1"), ids.where(~mine), rename.where(named)]
    bad += [ids.where(sa.or_(mine, named)), ids.where(sa.case((mine, True)))]
    bad += [ids.where(todos.c.id.in_(ids.where(mine))), ids.where(mine, others)]
    bad += [ids.where(mine).union(ids), one.join(two, my_one & my_two).select()]
    bad += [add.values([new, new | {"user_id": uuid4()}]), add.from_select(["id"], ids)]
    bad += [add.values(new).on_conflict_do_update("todos_pkey", set_=new)]
    for user, each in [(alice, s) for s in safe + bad] + [(User(), s) for s in safe]:
        with user.asking(fails=True), suppress(PermissionError):
            execute(each)
        assert bool(faults) == (user is not alice or each in bad), each
    with User().asking(fails=True):
        assert_clean(http.get(alice.todos, auth=alice), 500)


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
        connection.execute(main.ADD_OWNER, new)
        connection.execute(main.ADD_TODO, new)
        raise ZeroDivisionError
    assert alice.lists() == []


@every_operation
def test_a_hundred_clients_at_once_are_all_answered(alice: User, name: str) -> None:
    ids = belongings(alice)
    row = {"title": "x", "description": "x", "user_id": UUID(alice.id)}
    execute(insert(models.Todo).values([row] * 99))
    assert alice.together([call(name, ids)] * 100) <= {200, 201, 204, 404}


def test_no_more_connections_or_threads_than_the_pool_has(alice: User) -> None:
    opened.clear()
    engine.dispose()
    with ExitStack() as held:
        for _ in range(db.POOL_SIZE - 1):
            held.enter_context(engine.connect())
        assert alice.together([{"method": "GET", "url": alice.todos}] * 100) == {200}
    assert len(opened) == len(db.threads._threads) == engine.pool.size() == db.POOL_SIZE
    assert engine.pool.timeout() == db.TIMEOUT and engine.hide_parameters


def test_twenty_first_todos_of_one_user_at_once(alice: User) -> None:
    post = {"method": "POST", "url": alice.todos, "json": {"title": "x"}}
    assert alice.together([post] * 20) == {201} and len(alice.lists()) == 60


# --- Bad input, and the OpenAPI document: FR-016 to FR-020 ---------------------------

# Each stands after {"title": . "~" stands for 255 times é.
GOOD = r""" "~", "description": "\n~~~~~~~"} | " \n x ", "description": null}"""
BAD = r"""null} | ""} | " \t\n\u001f\u0085\u00a0\u2003\u3000"} | "x\u0000Zq9xMarker"}
"~x"} | 5} | NaN} | 1e999} | "Zq9xMarker\ud800"} | ["Zq9xMarker"]} | "Zq9xMarker
"x", "description": "~~~~~~~~"} | "x", "description": "\u0000"}
"x", "description": "\udfff"} | "x", "description": {"Zq9xMarker": -Infinity}}
"x", "Zq9xMarker": "Zq9xMarker"} | "x", "Zq9xMarker\ud800": 1}
"x", "id": "11111111-1111-4111-8111-111111111111"} | "x", "is_completed": "true"}
"x", "user_id": "11111111-1111-4111-8111-111111111111"} | "x", "is_completed": 1}
"x", "created_at": "2026-01-01T00:00:00Z"} | "x", "is_completed": null}"""
UNREADABLE = (b'{"title": "Zq9xMarker\xff"}', b"[" * 60000, b"[%s]" % (b"9" * 5000))


def cases(table: str) -> list[str]:
    bodies = re.split(r"\n| \| ", table.replace("~", "é" * 255))
    return [f'{{"title": {body}' for body in bodies]


def assert_clean(answer: Response, status: int) -> Any:
    """The answer is in the README, or a list, and repeats nothing that was sent."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get("Retry-After") == ("5" if status == 503 else None)
    detail: Any = answer.json()["detail"]
    kinds = {key for e in detail for key in e} if status == 422 else set()
    listed = f"| {status} |" in README and f"| `{answer.text}` |" in README
    assert listed or kinds == {"type", "loc", "msg"}
    assert MARKER not in answer.text and len(answer.content) < 2000
    return detail


def test_text_within_the_limits_is_stored_as_sent(alice: User) -> None:
    for body in map(json.loads, cases(GOOD)):
        todo = alice.creates(**body)
        one = f"{alice.todos}/{alice.creates()['id']}"
        changed = alice.asks("PATCH", one, json=body).json()
        assert todo | body == todo and changed | body == changed
        assert [changed, todo] == alice.lists()[:2]


def test_bad_bodies_are_refused_and_change_nothing(alice: User) -> None:
    todo, many = alice.creates(), {"title": "x"} | {f"{n}": n for n in range(999)}
    bad = ['[{"title": "Zq9xMarker"}]', "", "title=Zq9xMarker", json.dumps(many)]
    for body in (*cases(BAD), *bad, *UNREADABLE):
        for method, path in (("POST", ""), ("PATCH", f"/{todo['id']}")):
            answer = alice.asks(method, alice.todos + path, content=body)
            assert_clean(answer, 400 if body in UNREADABLE else 422)
    for new in ({"title": "x", "is_completed": True}, {"description": "x"}, {}):
        answer = alice.asks("POST", alice.todos, json=new)
        assert_clean(answer, 422)
    assert f"| `{answer.text}` |" in README and alice.lists() == [todo]


def test_errors_name_the_field_and_the_rule(alice: User) -> None:
    answer = alice.asks("POST", alice.todos, json={"title": " ", "x": 1, "y": 2})
    blank, unknown = assert_clean(answer, 422)
    assert [*unknown.values()][:2] == ["extra_forbidden", ["body"]]
    assert [*blank.values()][:2] == ["string_pattern_mismatch", ["body", "title"]]
    assert blank["msg"] == "String is blank, or has a character that is not allowed"


def test_wrong_ids_paths_and_methods_are_errors_in_json(alice: User) -> None:
    for bad in ("5", MARKER, "%00", "%ff", "x" * 36, "%22%3E", "null"):
        for path in (f"/users/{bad}/todos", f"{alice.todos}/{bad}"):
            [error] = assert_clean(alice.asks("GET", path), 422)
            assert error["msg"] == "Input should be a valid UUID"
    for path in (f"/{MARKER}", f"/users/{MARKER}", f"{alice.todos}/"):
        assert_clean(alice.asks("GET", path), 404)
    for method in ("PUT", "PATCH"):
        assert_clean(alice.asks(method, alice.todos), 405)


def test_a_body_over_64_kib_is_refused_before_anything_is_done(alice: User) -> None:
    one = f"{alice.todos}/{alice.creates()['id']}"
    body = b'{"title": "x"}'.ljust(64 * 1024)
    for content in (body, iter([body[:-1], body[-1:]])):
        assert alice.asks("PATCH", one, content=content).is_success
    before = alice.lists()
    for method, path in (
        ("POST", alice.todos),
        ("GET", one),
        ("PATCH", one),
        ("DELETE", one),
    ):
        for content in (body + b" ", iter([body, b" "])):
            assert_clean(alice.asks(method, path, content=content), 413)
    assert alice.lists() == before


def test_a_client_that_leaves_in_its_body_has_caused_nothing(alice: User) -> None:
    todo, client = alice.creates(), HTTPConnection(http.base_url.netloc.decode())
    one, headers = f"{alice.todos}/{todo['id']}", {"Content-Length": "9"}
    client.request("DELETE", one, b"{}", headers)
    wait_for(lambda: server.server_state.tasks)
    client.close()
    wait_for(lambda: not server.server_state.tasks)
    assert not faults and alice.lists() == [todo]


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


def test_the_document_tells_every_rule_and_has_examples_that_work() -> None:
    for shape, required in (("TodoCreate", ["title"]), ("TodoUpdate", None)):
        assert SHAPES[shape]["additionalProperties"] is False
        assert SHAPES[shape].get("required") == required
        rules = json.dumps(SHAPES[shape]["properties"])
        assert re.search('"title": {[^}]*255, "pattern".*: 2000, "pattern"', rules)
    ids = OPERATIONS["read_todo"][2]["parameters"]
    assert [id["name"] for id in ids if "examples" in id] == ["user_id"]


# --- Faults: FR-005, FR-006, FR-021 --------------------------------------------------


def test_a_statement_without_an_answer_is_given_up_whole(monkeypatch: Any) -> None:
    alice, bob, title = User(), User(), {"title": MARKER}
    one = f"{alice.todos}/{alice.creates()['id']}"
    crowd, reason, lock = 3, "database is locked", "BEGIN IMMEDIATE"
    if not db.is_sqlite:
        monkeypatch.setattr(db, "TIMEOUT", 1)
        crowd, reason, lock = 25, "no answer in 1 s", "LOCK TABLE todos IN SHARE MODE"
        deaf = "BEGIN PERFORM pg_sleep(3); EXCEPTION WHEN query_canceled THEN END;"
        with pytest.raises(TimeoutError):
            execute(sa.text(f"DO $$ BEGIN FOR n IN 1..60 LOOP {deaf} END LOOP; END $$"))
    with engine.connect() as holder, ThreadPoolExecutor(crowd) as pool:
        holder.exec_driver_sql(lock)
        late = lambda _: alice.asks("PATCH", one, True, json=title)
        for answer in pool.map(late, range(crowd)):
            assert_clean(answer, 503)
        assert bob.together([{"method": "GET", "url": bob.todos}] * 20) == {200}
        wait_for(lambda: engine.pool.checkedout() == 1)  # the last has been cancelled
    assert f"Database error: {reason}\n" in log.getvalue()
    assert alice.asks("PATCH", one, json={"description": "on time"}).is_success
    assert MARKER not in log.getvalue() + str(alice.lists())


def end_connections(*_: object) -> None:
    served = f"FROM pg_stat_activity WHERE datname = '{db.url.database}'"
    with psycopg.connect(TEST_URL, dbname="postgres", autocommit=True) as admin:
        admin.execute(f"SELECT pg_terminate_backend(pid) {served}")
        wait_for(lambda: not admin.execute(f"SELECT {served}").fetchall())


@pytest.mark.skipif(db.is_sqlite, reason="SQLite has no server")
def test_connections_that_the_server_closes_are_replaced_unnoticed(alice: User) -> None:
    crowd = [{"method": "GET", "url": alice.todos}] * 50
    alice.together(crowd)
    end_connections()
    assert alice.together(crowd) == {200} and round_trips(alice.lists) == 1
    end_connections()
    sa.event.listen(db.autocommit, "connect", end_connections)  # the replacement, too
    assert_clean(alice.asks("GET", alice.todos, fails=True), 503)
    sa.event.remove(db.autocommit, "connect", end_connections)
    assert alice.lists() == []
    options = opened[-1].info.get_parameters()
    assert (options["connect_timeout"], options["tcp_user_timeout"]) == ("10", "10000")
    assert options["client_encoding"] == "utf8" and opened[-1].prepare_threshold is None


@pytest.mark.skipif(db.is_sqlite, reason="SQLite has no server")
def test_a_database_that_refuses_connections_is_503_until_it_is_back() -> None:
    alice, allow = User(), f'ALTER DATABASE "{db.url.database}" ALLOW_CONNECTIONS'
    todo, earlier, new = alice.creates(), len(log.getvalue()), {"title": MARKER}
    with psycopg.connect(TEST_URL, dbname="postgres", autocommit=True) as admin:
        admin.execute(f"{allow} false")
        try:
            end_connections()
            assert_clean(alice.asks("POST", alice.todos, True, json=new), 503)
            assert start(TEST_URL).startswith("1 ")
        finally:
            admin.execute(f"{allow} true")
    lines = log.getvalue()[earlier:].splitlines()
    assert len(lines) == 2 and all("FATAL: " in line for line in lines)
    assert MARKER not in str(lines) and str(db.url.host) not in str(lines)
    assert alice.lists() == [todo]


def test_a_fault_of_our_own_is_500_in_json_and_one_line_without_a_todo() -> None:
    alice, earlier = User(), len(log.getvalue())
    title, id = f"{MARKER} {alice.id}", UUID(alice.id).hex
    only = f"ON todos (title) WHERE title = '{title}'"
    execute(sa.text(f"CREATE UNIQUE INDEX i{id} {only}"))
    alice.creates(title=title)
    assert_clean(alice.asks("POST", alice.todos, True, json={"title": title}), 500)
    execute(sa.text(f"DROP INDEX i{id}"))
    line = log.getvalue()[earlier:]
    assert re.fullmatch("(?i)database error: .*unique.*\n", line) and MARKER not in line


# The code that a start ends with, words of its log, and URLs. "~" is an address.
STARTS = """3 must be: hunter2 | | mysql://~/todos | psql 'postgresql://~/todos'
3 must be: postgresql://~:port/todos | postgresql://me@127.0.0.1/todos?port=hunter2
3 must be: postgresql://me:hun@ter2/x@127.0.0.1/todos | postgresql://~ | sqlite://
3 must be: sqlite:///:memory: | sqlite://hunter2/x.db | sqlite:///x.db?timeout=hunter2
3 invalid sslmode value: postgresql://~:1/todos?sslmode=bad
3 label empty: postgresql://me:hunter2@host..name/todos
3 file is not a database: sqlite:///corrupt.db
3 todos has no column .*. run ALTER TABLE, or, for SQLite, delete: sqlite:///old.db
1 unable to open database file: sqlite:////no/such/folder/todos.db
1 cannot be used. Connection refused: postgresql://~:1/todos"""


def start(url: str | None) -> str:
    """Start a copy of db.py in this process; return the exit code and the log."""
    earlier, code = len(log.getvalue()), "-"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER)
        patch.setattr(os, "environ", {} if url is None else {"NEON_DATABASE_URL": url})
        try:
            started = runpy.run_path("db.py")
            started["create_tables"]()
            started["engine"].dispose()
        except SystemExit as error:
            code = str(error.code)
    return f"{code} {log.getvalue()[earlier:]}"


def test_a_start_that_cannot_succeed_ends_with_one_sentence() -> None:
    (FOLDER / "corrupt.db").write_text("no database, hunter2")
    sqlite3.connect(FOLDER / "old.db").execute("CREATE TABLE todos (id)")
    for code, words, urls in re.findall("(.) (.*?): (.*)", STARTS):
        for url in urls.split("|"):
            said = start(url.strip().replace("~", "me:hunter2@127.0.0.1"))
            assert re.fullmatch(f"{code} NEON_DATABASE_URL.*{words}.*\n", said), url
            assert "ter2" not in said, "shows the end of the password"
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", "0"]
    env = os.environ | {"NEON_DATABASE_URL": "sqlite:////no/such/folder/todos.db"}
    ended = run(command, cwd=FOLDER, env=env, stderr=PIPE, check=False, timeout=60)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (1, 1)


def test_the_log_of_a_start_says_which_database_is_in_use() -> None:
    dotenv, line = FOLDER / ".env", "NEON_DATABASE_URL=sqlite:///dotenv.db"
    using = "using ./todos.db\nUsing sqlite database ./todos.db\n"
    assert start(None) == f"- NEON_DATABASE_URL is not set: {using}"
    dotenv.write_text("OTHER=1")
    assert start(None) == f"- NEON_DATABASE_URL is not set, not even in .env: {using}"
    dotenv.write_text(line, "utf-8-sig")  # as Windows' Notepad writes it
    assert start(None) == "- Using sqlite database dotenv.db\n"
    assert start("sqlite:///todos.db") == "- Using sqlite database todos.db\n"
    dotenv.write_text(line, "utf-16")
    assert start(None).startswith("3 NEON_DATABASE_URL must be")
    dotenv.unlink()
    if TEST_URL:
        line = f"- Using postgresql database {db.url.database} on {db.url.host}\n"
        assert start(re.sub("^postgresql:", "postgres:", TEST_URL)) == line


def test_processes_may_start_on_an_empty_database_at_once() -> None:
    SQLModel.metadata.drop_all(engine)
    with ThreadPoolExecutor(db.POOL_SIZE) as pool:
        assert not any(pool.map(lambda _: db.create_tables(), range(db.POOL_SIZE)))
    one, other = (sqlite3.connect(FOLDER / "new.db", timeout=0) for _ in range(2))
    one.execute("BEGIN EXCLUSIVE")  # as while it changes the file to WAL
    db.on_connect(other, None)
    one.close()
    db.on_connect(other, None)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
