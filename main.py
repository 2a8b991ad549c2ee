"""The app: the statements that it can run, its five endpoints, and its error answers.

Tables and shapes are in models.py, connections in db.py.
"""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import Row, exc
from sqlalchemy.dialects.postgresql import insert  # SQLite takes ON CONFLICT as well
from sqlmodel import bindparam, col, delete, select, update
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db import create_tables, lifespan, logger, reason, run
from models import Error, Todo, TodoCreate, TodoPublic, TodoUpdate, User

MAX_BODY_SIZE = 64 * 1024  # bytes


class BodyLimit:
    """Answer 413 to a body over MAX_BODY_SIZE before anything is done with it.

    FastAPI's max_body_size would run a DELETE first, and answers in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []
        size, more = 0, scope["type"] == "http"
        while more:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size > MAX_BODY_SIZE:
                answer = JSONResponse({"detail": "Body is over 64 KiB"}, 413)
                return await answer(scope, receive, send)

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        await self.app(scope, replay, send)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare error answers for the OpenAPI document."""
    return {status: {"model": Error} for status in statuses}


# Here and not in the lifespan, where Starlette answers a failure with a traceback.
create_tables()

app = FastAPI(
    title="Todos",
    description="Todos of many users, each user seeing only their own.",
    lifespan=lifespan,
    middleware=[Middleware(BodyLimit)],
    redirect_slashes=False,  # the redirect would repeat the client's Host header
    responses=errors(413, 503),
    generate_unique_id_function=lambda route: route.name,
)

of_user = col(Todo.user_id) == bindparam("owner")
with_id = col(Todo.id) == bindparam("todo_id")
newest_first = (col(Todo.created_at).desc(), col(Todo.id).desc())

ADD_OWNER = insert(User).values(id=bindparam("owner")).on_conflict_do_nothing()
ADD_TODO = insert(Todo).values(user_id=bindparam("owner")).returning(Todo)
LIST_TODOS = select(Todo).where(of_user).order_by(*newest_first)
READ_TODO = select(Todo).where(of_user, with_id)
UPDATE_TODO = update(Todo).where(of_user, with_id).returning(Todo)
DELETE_TODO = delete(Todo).where(of_user, with_id).returning(col(Todo.id))

TODOS = "/users/{user_id}/todos"
TODO = TODOS + "/{todo_id}"
# openapi_examples and not examples: /docs fills in no other for a parameter.
USER = {"a user": {"value": "8a4f7c52-0d1e-4b6a-9c3f-2e5d7b8a9c01"}}
ITEM = {"a todo": {"value": "3f2b9d64-7c85-4e1a-b0d2-6a9e8c7f5b43"}}
UserId = Annotated[UUID, Path(openapi_examples=USER)]
TodoId = Annotated[UUID, Path(openapi_examples=ITEM, description="As create gave it.")]


def one(rows: Sequence[Row[Any]]) -> Row[Any]:
    """Return the one row; no todo and another user's todo are the same 404."""
    if not rows:
        raise HTTPException(404, "Todo not found")
    return rows[0]


@app.post(TODOS, status_code=201, response_model=TodoPublic, responses=errors(400))
async def create_todo(user_id: UserId, todo: TodoCreate, response: Response) -> Any:
    """Create a todo. A user's first todo records the user."""
    await run(ADD_OWNER, owner=user_id)
    row = one(await run(ADD_TODO, owner=user_id, **todo.model_dump()))
    response.headers["Location"] = TODO.format(user_id=user_id, todo_id=row.id)
    return row


@app.get(TODOS, response_model=list[TodoPublic])
async def list_todos(user_id: UserId) -> Any:
    """List all of the user's todos, newest first."""
    return await run(LIST_TODOS, owner=user_id)


@app.get(TODO, response_model=TodoPublic, responses=errors(404))
async def read_todo(user_id: UserId, todo_id: TodoId) -> Any:
    """Read one todo."""
    return one(await run(READ_TODO, owner=user_id, todo_id=todo_id))


@app.patch(TODO, response_model=TodoPublic, responses=errors(400, 404))
async def update_todo(user_id: UserId, todo_id: TodoId, changes: TodoUpdate) -> Any:
    """Change the fields that are sent; the others stay. A null description clears it."""
    values = changes.model_dump()  # without the MISSING ones
    statement = UPDATE_TODO if values else READ_TODO
    return one(await run(statement, owner=user_id, todo_id=todo_id, **values))


@app.delete(TODO, status_code=204, responses=errors(404))
async def delete_todo(user_id: UserId, todo_id: TodoId) -> None:
    """Delete one todo for good."""
    one(await run(DELETE_TODO, owner=user_id, todo_id=todo_id))


@app.exception_handler(RequestValidationError)
async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 without what was sent: no input, no name of an unknown field."""
    detail = []
    for problem in error.errors():
        kind, loc = problem["type"], problem["loc"]
        entry = {
            "type": kind,
            "loc": loc[:-1] if kind == "extra_forbidden" else loc,
            # Behind a comma pydantic may quote: "a valid UUID, … found `x` at 1".
            "msg": problem["msg"].split(",")[0],
        }
        if entry not in detail:
            detail.append(entry)
    return JSONResponse({"detail": detail}, 422)


@app.exception_handler(exc.OperationalError)
@app.exception_handler(exc.InterfaceError)
@app.exception_handler(exc.TimeoutError)
@app.exception_handler(TimeoutError)
async def database_unavailable(_: Request, error: Exception) -> JSONResponse:
    """Answer 503; the reason goes to the log."""
    logger.error("Database unavailable: %s", reason(error))
    return JSONResponse({"detail": "Database unavailable"}, 503, {"Retry-After": "5"})


@app.exception_handler(Exception)
async def server_error(_: Request, __: Exception) -> JSONResponse:
    """Answer 500; uvicorn logs the traceback."""
    return JSONResponse({"detail": "Internal server error"}, 500)
