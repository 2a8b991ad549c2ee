"""The tables, and the shapes that the API takes and gives. No SQL, no HTTP."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import MISSING, BaseModel, StrictBool, StringConstraints
from pydantic.config import JsonDict
from sqlmodel import Field, Index, SQLModel

UserId = UUID  # what a user's id is, in the tables, the shapes and the paths

NO_NUL = r"^[^\x00]*$"  # PostgreSQL cannot store it in text

Title = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=255, pattern=NO_NUL
    ),
]
Description = Annotated[str, StringConstraints(max_length=2000, pattern=NO_NUL)]


class User(SQLModel, table=True):
    """The owner of todos: an id, until there is authentication."""

    __tablename__ = "users"

    id: UserId = Field(primary_key=True)


class Todo(SQLModel, table=True):
    """One todo of one user."""

    __tablename__ = "todos"
    __table_args__ = (
        # Serves the user's list, newest first. The primary key serves one todo.
        Index("ix_todos_user_id", "user_id", "created_at", "id"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    title: str = Field(max_length=255)
    description: str | None = Field(max_length=2000)
    is_completed: bool = False
    # SQLModel stores a datetime in UTC, and returns it with the zone.
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    user_id: UserId = Field(foreign_key="users.id", ondelete="CASCADE")


# The shapes are plain pydantic models, which validate rows in less time than
# SQLModel classes do. All fields of TodoCreate and TodoUpdate go into the SQL, so
# neither has an id or a user_id.

BUY_MILK: JsonDict = {"examples": [{"title": "Buy milk", "description": "Two litres"}]}
COMPLETE: JsonDict = {"examples": [{"is_completed": True}]}


class TodoCreate(BaseModel, extra="forbid", json_schema_extra=BUY_MILK):
    """What a client sends to create a todo."""

    title: Title
    description: Description | None = None


class TodoUpdate(BaseModel, extra="forbid", json_schema_extra=COMPLETE):
    """What a client sends to change a todo: the fields that are to change."""

    # A field that was not sent is MISSING, and `model_dump` leaves it out.
    title: Title | MISSING = MISSING
    description: Description | None | MISSING = MISSING
    is_completed: StrictBool | MISSING = MISSING


class TodoPublic(BaseModel):
    """A todo as the API returns it."""

    id: UUID
    title: str
    description: str | None
    is_completed: bool
    created_at: datetime
    user_id: UserId


class ErrorResponse(BaseModel):
    """An error in a sentence, with nothing of what was sent."""

    detail: str
