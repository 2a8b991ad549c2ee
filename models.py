"""The tables, and the shapes that the API takes and gives. No SQL and no HTTP here."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import MISSING, BaseModel, StrictBool, StringConstraints
from pydantic.config import JsonDict
from sqlmodel import Field, Index, SQLModel

# PostgreSQL cannot store NUL in text. A title of blanks and control characters is blank.
Title = Annotated[
    str, StringConstraints(max_length=255, pattern=r"^[^\x00]*[^\x00-\x1f\s][^\x00]*$")
]
Description = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
BUY_MILK: JsonDict = {"examples": [{"title": "Buy milk", "description": "Two litres"}]}
COMPLETED: JsonDict = {"examples": [{"is_completed": True}]}


class User(SQLModel, table=True):
    """The owner of todos: an id, until there is authentication."""

    __tablename__ = "users"

    id: UUID = Field(primary_key=True)


class Todo(SQLModel, table=True):
    """One todo of one user. The primary key serves one todo, the index a user's list."""

    __tablename__ = "todos"
    __table_args__ = (Index("ix_todos_user_id", "user_id", "created_at", "id"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    title: str = Field(max_length=255)
    description: str | None = Field(max_length=2000)
    is_completed: bool = False
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")


class TodoCreate(BaseModel, extra="forbid", json_schema_extra=BUY_MILK):
    """What a client sends to create a todo."""

    title: Title
    description: Description | None = None


class TodoUpdate(BaseModel, extra="forbid", json_schema_extra=COMPLETED):
    """What a client sends to change a todo: any of the fields, and those alone change."""

    title: Title | MISSING = MISSING
    description: Description | None | MISSING = MISSING
    is_completed: StrictBool | MISSING = MISSING


class TodoPublic(BaseModel):
    """A todo as every endpoint answers it."""

    id: UUID
    title: str
    description: str | None
    is_completed: bool
    created_at: datetime
    user_id: UUID


class Error(BaseModel):
    """Every error but 422: a sentence that repeats nothing of what was sent."""

    detail: str
