"""The app: statements, endpoints, error answers, the limit of bodies. No tables."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import Row, exc
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import bindparam, col, delete, select, update
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db import lifespan, logger, reason, run
from models import (
    ErrorResponse,
    Todo,
    TodoCreate,
    TodoPublic,
    TodoUpdate,
    User,
    UserId,
)

# The statements run on a connection and not in a session, so select(Todo)
# gives rows and no objects; FastAPI reads a row's columns as it would read
# attributes. Endpoints give `run` the path's user_id as `owner`, and its todo_id.
# (Not as user_id: SQLAlchemy keeps the columns' names for values to be set.)
# Columns that an INSERT leaves out, such as id, get their default from models.py.
of_owner = col(Todo.user_id) == bindparam("owner")
with_id = col(Todo.id) == bindparam("todo_id")
newest_first = (col(Todo.created_at).desc(), col(Todo.id).desc())

# This `insert` has ON CONFLICT; SQLAlchemy writes it for SQLite as well.
ADD_OWNER = insert(User).values(id=bindparam("owner")).on_conflict_do_nothing()

ADD_TODO = insert(Todo).values(user_id=bindparam("owner")).returning(Todo)
LIST_TODOS = select(Todo).where(of_owner).order_by(*newest_first)
READ_TODO = select(Todo).where(of_owner, with_id)
UPDATE_TODO = update(Todo).where(of_owner, with_id).returning(Todo)
DELETE_TODO = delete(Todo).where(of_owner, with_id).returning(col(Todo.id))

ERROR: dict[str, Any] = {"model": ErrorResponse}

app = FastAPI(
    title="Todos",
    lifespan=lifespan,
    redirect_slashes=False,  # a redirect goes to the Host that the client sent
    responses={413: ERROR, 503: ERROR},
    generate_unique_id_function=lambda route: route.name,
)

TODOS_PATH = "/users/{user_id}/todos"
TODO_PATH = TODOS_PATH + "/{todo_id}"

# Not `examples`, which /docs does not fill into a parameter.
A_USER = {"a user": {"value": "8a4f7c52-0d1e-4b6a-9c3f-2e5d7b8a9c01"}}
UserIdInPath = Annotated[UserId, Path(openapi_examples=A_USER)]


# FastAPI itself answers 400, to a body that it cannot decode.
@app.post(
    TODOS_PATH, status_code=201, response_model=TodoPublic, responses={400: ERROR}
)
async def create_todo(
    user_id: UserIdInPath, todo: TodoCreate, request: Request, response: Response
) -> Any:
    """Create a todo. A user's first todo records the user."""
    await run(ADD_OWNER, owner=user_id)
    statement = ADD_TODO.values(**todo.model_dump())
    [row] = await run(statement, owner=user_id)
    root_path = request.scope.get("root_path", "").rstrip("/")
    path = TODO_PATH.format(user_id=user_id, todo_id=row.id)
    response.headers["Location"] = root_path + path
    return row


@app.get(TODOS_PATH, response_model=list[TodoPublic])
async def list_todos(user_id: UserIdInPath) -> Any:
    """List all of the user's todos, newest first."""
    return await run(LIST_TODOS, owner=user_id)


@app.get(TODO_PATH, response_model=TodoPublic, responses={404: ERROR})
async def read_todo(user_id: UserIdInPath, todo_id: UUID) -> Any:
    """Read one todo."""
    rows = await run(READ_TODO, owner=user_id, todo_id=todo_id)
    return one_or_404(rows)


@app.patch(TODO_PATH, response_model=TodoPublic, responses={400: ERROR, 404: ERROR})
async def update_todo(user_id: UserIdInPath, todo_id: UUID, changes: TodoUpdate) -> Any:
    """Change the fields that are sent. A null description clears it."""
    values = changes.model_dump()
    # SQL has no UPDATE that sets nothing.
    statement = UPDATE_TODO.values(**values) if values else READ_TODO
    rows = await run(statement, owner=user_id, todo_id=todo_id)
    return one_or_404(rows)


@app.delete(TODO_PATH, status_code=204, responses={404: ERROR})
async def delete_todo(user_id: UserIdInPath, todo_id: UUID) -> None:
    """Delete one todo for good."""
    rows = await run(DELETE_TODO, owner=user_id, todo_id=todo_id)
    one_or_404(rows)


def one_or_404(rows: Sequence[Row[Any]]) -> Row[Any]:
    """Return the one row; no todo and another user's todo are the same 404."""
    if not rows:
        raise HTTPException(404, "Todo not found")
    return rows[0]


@app.exception_handler(RequestValidationError)
async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 with the first ten problems, without what was sent."""
    detail = []
    for problem in error.errors()[:10]:
        kind = problem["type"]
        location = problem["loc"]
        message = problem["msg"]
        if kind == "extra_forbidden":
            location = location[:-1]  # without the name, which the client chose
        if kind == "string_pattern_mismatch":  # it quotes the regular expression
            message = "String is blank, or has a character that is not allowed"
        if kind.endswith("_parsing"):  # "..., found `x` at 1" quotes the value
            message = message.split(",")[0]
        detail.append({"type": kind, "loc": location, "msg": message})
    return JSONResponse({"detail": detail}, 422)


@app.exception_handler(exc.OperationalError)
@app.exception_handler(exc.TimeoutError)
async def database_away(_: Request, error: exc.SQLAlchemyError) -> JSONResponse:
    """Answer 503: the database is away, locked or slow. The log says which."""
    logger.error("Database error: %s", reason(error))
    answer = {"detail": "Database unavailable"}
    return JSONResponse(answer, 503, headers={"Retry-After": "5"})


@app.exception_handler(exc.DBAPIError)
async def database_refused(request: Request, error: exc.DBAPIError) -> JSONResponse:
    """Answer 500: a statement that is refused is this code's fault.

    But a database that is read-only, as after a failover, counts as away: 503.
    """
    if isinstance(error.orig, ReadOnlySqlTransaction):
        return await database_away(request, error)
    logger.error("Database error: %s", reason(error))
    return await server_error(request, error)


@app.exception_handler(Exception)
async def server_error(_: Request, __: Exception) -> JSONResponse:
    """Answer 500. If no handler above took the exception, uvicorn logs it whole."""
    return JSONResponse({"detail": "Internal server error"}, 500)


MAX_BODY_KIB = 64


class BodyLimit:
    """Answer 413 to a body over MAX_BODY_KIB before an endpoint runs.

    FastAPI's own max_body_size would carry out a DELETE, and answer in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole body, and hand it on as one message."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # the client has left, and nothing has been done
            body += message.get("body", b"")
            if len(body) > MAX_BODY_KIB * 1024:
                detail = f"Body is over {MAX_BODY_KIB} KiB"
                answer = JSONResponse({"detail": detail}, 413)
                await answer(scope, receive, send)
                return
            more = message.get("more_body", False)

        whole: list[Message] = [{"type": "http.request", "body": bytes(body)}]
        body.clear()  # so as not to hold it twice

        async def receive_whole() -> Message:
            if whole:
                return whole.pop()
            return await receive()

        await self.app(scope, receive_whole, send)


app.add_middleware(BodyLimit)
