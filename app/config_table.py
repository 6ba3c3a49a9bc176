"""What every table of the settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Table(BaseModel):
    """A table of the file: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SourceSecret(Table):
    """One of the live webhook secrets of a sender; `id` is recorded with every delivery that it matched."""

    id: Annotated[str, Field(min_length=1, max_length=64)] = Field(description='Give the secret an id, like "2026-11".')
    value: SecretStr = Field(description="The secret that the platform signs with, at least 16 characters.")
