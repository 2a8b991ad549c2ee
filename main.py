"""The app: its statements, its endpoints, and its error answers. No tables here."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import Row, exc
from sqlalchemy.dialects.postgresql import insert  # SQLite takes ON CONFLICT as well
from sqlmodel import bindparam, col, delete, select, update
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db import create_tables, lifespan, logger, reason, run
from models import Error, Todo, TodoCreate, TodoPublic, TodoUpdate, User

# "owner" is the user_id of the path: a value named user_id would be one to set.
of_user = col(Todo.user_id) == bindparam("owner")
with_id = col(Todo.id) == bindparam("todo_id")
newest_first = (col(Todo.created_at).desc(), col(Todo.id).desc())

ADD_OWNER = insert(User).values(id=bindparam("owner")).on_conflict_do_nothing()
ADD_TODO = insert(Todo).values(user_id=bindparam("owner")).returning(Todo)
LIST_TODOS = select(Todo).where(of_user).order_by(*newest_first)
READ_TODO = select(Todo).where(of_user, with_id)
UPDATE_TODO = update(Todo).where(of_user, with_id).returning(Todo)
DELETE_TODO = delete(Todo).where(of_user, with_id).returning(col(Todo.id))

ERROR: dict[str, Any] = {"model": Error}

app = FastAPI(
    title="Todos",
    lifespan=lifespan,
    redirect_slashes=False,  # the redirect would repeat the client's Host header
    responses={413: ERROR, 503: ERROR},
    generate_unique_id_function=lambda route: route.name,
)

TODOS = "/users/{user_id}/todos"
TODO = TODOS + "/{todo_id}"
# openapi_examples and not examples: /docs fills in no other for a parameter.
USER = {"a user": {"value": "8a4f7c52-0d1e-4b6a-9c3f-2e5d7b8a9c01"}}
UserId = Annotated[UUID, Path(openapi_examples=USER)]


@app.post(TODOS, status_code=201, response_model=TodoPublic, responses={400: ERROR})
async def create_todo(user_id: UserId, todo: TodoCreate, response: Response) -> Any:
    """Create a todo. A user's first todo records the user."""
    await run(ADD_OWNER, owner=user_id)
    [row] = await run(ADD_TODO, owner=user_id, **todo.model_dump())
    response.headers["Location"] = TODO.format(user_id=user_id, todo_id=row.id)
    return row


@app.get(TODOS, response_model=list[TodoPublic])
async def list_todos(user_id: UserId) -> Any:
    """List all of the user's todos, newest first."""
    return await run(LIST_TODOS, owner=user_id)


@app.get(TODO, response_model=TodoPublic, responses={404: ERROR})
async def read_todo(user_id: UserId, todo_id: UUID) -> Any:
    """Read one todo."""
    return one_or_404(await run(READ_TODO, owner=user_id, todo_id=todo_id))


@app.patch(TODO, response_model=TodoPublic, responses={400: ERROR, 404: ERROR})
async def update_todo(user_id: UserId, todo_id: UUID, changes: TodoUpdate) -> Any:
    """Change the fields that are sent; the others stay. A null description clears it."""
    values = changes.model_dump()  # without the MISSING ones
    statement = UPDATE_TODO if values else READ_TODO
    return one_or_404(await run(statement, owner=user_id, todo_id=todo_id, **values))


@app.delete(TODO, status_code=204, responses={404: ERROR})
async def delete_todo(user_id: UserId, todo_id: UUID) -> None:
    """Delete one todo for good."""
    one_or_404(await run(DELETE_TODO, owner=user_id, todo_id=todo_id))


def one_or_404(rows: Sequence[Row[Any]]) -> Row[Any]:
    """Return the one row; no todo and another user's todo are the same 404."""
    if not rows:
        raise HTTPException(404, "Todo not found")
    return rows[0]


@app.exception_handler(RequestValidationError)
async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 without what was sent: no input, no name of an unknown field."""
    detail = []
    for problem in error.errors():
        kind, loc, words = problem["type"], problem["loc"], problem["msg"]
        loc = loc[:-1] if kind == "extra_forbidden" else loc
        if kind == "string_pattern_mismatch":
            words = "String is blank, or has a character that is not allowed"
        elif kind.endswith("_parsing"):  # "a valid UUID, … found `x` at 1"
            words = words.split(",")[0]
        entry = {"type": kind, "loc": loc, "msg": words}
        if entry not in detail:
            detail.append(entry)
    return JSONResponse({"detail": detail}, 422)


@app.exception_handler(exc.DBAPIError)
@app.exception_handler(exc.TimeoutError)
@app.exception_handler(TimeoutError)
async def database_error(request: Request, error: Exception) -> JSONResponse:
    """Answer 503 when the database is away, 500 when it refuses; the log says why."""
    logger.error("Database error: %s", reason(error))
    if not isinstance(error, exc.OperationalError | exc.TimeoutError | TimeoutError):
        return await server_error(request, error)
    return JSONResponse({"detail": "Database unavailable"}, 503, {"Retry-After": "5"})


@app.exception_handler(Exception)
async def server_error(_: Request, __: Exception) -> JSONResponse:
    """Answer 500; uvicorn logs the traceback."""
    return JSONResponse({"detail": "Internal server error"}, 500)


MAX_BODY_SIZE = 64 * 1024  # bytes


class BodyLimit:
    """Answer 413 to a body over MAX_BODY_SIZE before anything is done with it."""

    # FastAPI's max_body_size would run a DELETE first, and answers in plain text.

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = bytearray(), scope["type"] == "http"
        whole: list[Message] = [{"type": "http.request", "body": body}] if more else []
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # a client that leaves in the middle of its body causes nothing
            body += message["body"]
            more = message["more_body"]
            if len(body) > MAX_BODY_SIZE:
                answer = JSONResponse({"detail": "Body is over 64 KiB"}, 413)
                return await answer(scope, receive, send)

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


app.add_middleware(BodyLimit)
# Here and not in the lifespan, where Starlette answers a failure with a traceback.
create_tables()
