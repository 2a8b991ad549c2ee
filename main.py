"""The app: endpoints with their statements in them, and the error answers."""

import traceback
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import FastAPI, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import Row, exc
from sqlalchemy.dialects.postgresql import insert  # SQLite takes its ON CONFLICT too
from sqlmodel import col, delete, select, update

from db import is_unavailable, lifespan, logger, reason, run
from models import ErrorResponse, Todo, TodoCreate, TodoPublic, TodoUpdate, User, UserId

ERROR: dict[str, Any] = {"model": ErrorResponse}
# FastAPI's own answers to a body that is not UTF-8, or that is too large.
BODY_ERRORS: dict[int | str, Any] = {400: ERROR, 413: {"description": "Over 64 KiB"}}
MAX_BODY_SIZE = 64 * 1024  # bytes

app = FastAPI(
    title="Todos",
    lifespan=lifespan,
    redirect_slashes=False,  # a redirect goes to the Host that the client sent
    responses={503: ERROR},
    generate_unique_id_function=lambda route: route.name,
)

TODOS_PATH = "/users/{user_id}/todos"
TODO_PATH = TODOS_PATH + "/{todo_id}"

# Not `examples`, which /docs does not fill into a parameter.
A_USER = {"a user": {"value": "8a4f7c52-0d1e-4b6a-9c3f-2e5d7b8a9c01"}}
UserIdInPath = Annotated[UserId, Path(openapi_examples=A_USER)]

# Every statement names the user. Statements run on a connection: a session would
# write `UPDATE ... WHERE id = ?`, in four round trips. So select(Todo) gives rows;
# FastAPI reads their columns as attributes.


@app.post(
    TODOS_PATH,
    status_code=201,
    response_model=TodoPublic,
    responses=BODY_ERRORS,
    max_body_size=MAX_BODY_SIZE,
)
async def create_todo(
    user_id: UserIdInPath, new: TodoCreate, request: Request, response: Response
) -> Any:
    """Create a todo. A user's first todo records the user."""
    # The user stays recorded even if the second statement fails.
    await run(insert(User).values(id=user_id).on_conflict_do_nothing())
    # Columns that are left out, such as id, get their default from models.py.
    statement = insert(Todo).values(user_id=user_id, **new.model_dump())
    [todo] = await run(statement.returning(Todo))
    root_path = request.scope.get("root_path", "").rstrip("/")
    path = TODO_PATH.format(user_id=user_id, todo_id=todo.id)
    response.headers["Location"] = root_path + quote(path)
    return todo


@app.get(TODOS_PATH, response_model=list[TodoPublic])
async def list_todos(user_id: UserIdInPath) -> Any:
    """List all of the user's todos, newest first."""
    newest_first = (col(Todo.created_at).desc(), col(Todo.id).desc())
    statement = select(Todo).where(col(Todo.user_id) == user_id)
    return await run(statement.order_by(*newest_first))


@app.get(TODO_PATH, response_model=TodoPublic, responses={404: ERROR})
async def read_todo(user_id: UserIdInPath, todo_id: UUID) -> Any:
    """Read one todo."""
    statement = select(Todo).where(
        col(Todo.user_id) == user_id, col(Todo.id) == todo_id
    )
    return one_or_404(await run(statement))


@app.patch(
    TODO_PATH,
    response_model=TodoPublic,
    responses={404: ERROR, **BODY_ERRORS},
    max_body_size=MAX_BODY_SIZE,
)
async def update_todo(user_id: UserIdInPath, todo_id: UUID, changes: TodoUpdate) -> Any:
    """Change the fields that are sent. A null description clears it."""
    values = changes.model_dump()
    if not values:  # SQL has no UPDATE that sets nothing
        return await read_todo(user_id, todo_id)
    statement = update(Todo).where(
        col(Todo.user_id) == user_id, col(Todo.id) == todo_id
    )
    return one_or_404(await run(statement.values(**values).returning(Todo)))


@app.delete(TODO_PATH, status_code=204, responses={404: ERROR})
async def delete_todo(user_id: UserIdInPath, todo_id: UUID) -> None:
    """Delete one todo for good."""
    statement = delete(Todo).where(
        col(Todo.user_id) == user_id, col(Todo.id) == todo_id
    )
    one_or_404(await run(statement.returning(col(Todo.id))))


def one_or_404(rows: Sequence[Row[Any]]) -> Row[Any]:
    """Return the one row; no todo and another user's todo are the same 404."""
    if not rows:
        raise HTTPException(404, "Todo not found")
    return rows[0]


@app.exception_handler(RequestValidationError)
async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 with the first ten problems, without the values that were sent."""
    detail = [
        {"type": problem["type"], "loc": problem["loc"], "msg": problem["msg"]}
        for problem in error.errors()[:10]
    ]
    return JSONResponse({"detail": detail}, 422)


@app.exception_handler(exc.DBAPIError)
@app.exception_handler(exc.TimeoutError)
async def database_error(_: Request, error: exc.SQLAlchemyError) -> JSONResponse:
    """Answer 503 if the database is unavailable; else the fault is the code's: 500."""
    if is_unavailable(error):
        logger.error("Database unavailable: %s", reason(error))
        answer = {"detail": "Database unavailable"}
        return JSONResponse(answer, 503, headers={"Retry-After": "5"})
    # The frames without the exception, whose words may hold a todo's text.
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("Database error: %s\n%s", reason(error), frames)
    return JSONResponse({"detail": "Internal server error"}, 500)


@app.exception_handler(Exception)
async def server_error(_: Request, __: Exception) -> JSONResponse:
    """Answer 500 to a fault of the code; uvicorn logs the exception."""
    return JSONResponse({"detail": "Internal server error"}, 500)
