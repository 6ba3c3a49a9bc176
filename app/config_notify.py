"""[[notify]]: who is told of releases that failed, were rejected or recovered; its shape."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from app.config_athens import ModulePattern
from app.config_table import Table
from app.config_types import HttpUrl, Name
from app.domain.notify import Event, Wishes


class Notify(Table):
    """[[notify]]: a receiver of notifications."""

    name: Name = Field(description="Give the receiver a name, for logs and modsync notify test.")
    kind: Literal["webhook", "slack", "mattermost"] = Field(
        description='Choose "webhook" (signed), "slack" or "mattermost".'
    )
    url: HttpUrl = Field(default="", description="Give the address of a webhook receiver that is no secret.")
    secret_url: SecretStr | None = Field(
        default=None, description="The address, where it is a secret, as Slack's and Mattermost's are."
    )
    secret: SecretStr | None = Field(
        default=None, description="The signing secret: whsec_ and base64 of 24 to 64 bytes."
    )
    events: tuple[Literal["failed", "rejected", "recovered"], ...] = Field(
        default=("failed", "rejected", "recovered"), min_length=1,
        description='List what to tell: "failed", "rejected", "recovered".',
    )  # fmt: skip
    sources: tuple[str, ...] = Field(default=(), description="List names of sources, or leave it out for all.")
    modules: tuple[ModulePattern, ...] = Field(
        default=(), description="List module patterns like go.corp.example/payments, or leave it out for all."
    )
    gather_seconds: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = Field(
        default=10.0, description="Give the seconds that a message waits for others like it, 0 to 600."
    )
    min_interval_seconds: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = Field(
        default=300.0, description="Give the least seconds between two messages of one cause, 0 to 86400."
    )
    repeat_hours: Annotated[float, Field(gt=0, le=720, allow_inf_nan=False)] = Field(
        default=6.0,
        description="Give the hours in which the same failure of a release is told once, above 0 up to 720.",
    )
    give_up_hours: Annotated[float, Field(gt=0, le=168, allow_inf_nan=False)] = Field(
        default=24.0, description="Give the hours after which an undelivered message is given up, above 0 up to 168."
    )

    @property
    def address(self) -> str:
        """Where messages go; may be a secret."""
        return self.secret_url.get_secret_value() if self.secret_url else self.url

    @property
    def wishes(self) -> Wishes:
        """What app.domain.notify decides by."""
        return Wishes(
            self.name, frozenset(Event(event) for event in self.events), self.sources, self.modules,
            timedelta(seconds=self.gather_seconds), timedelta(seconds=self.min_interval_seconds),
            timedelta(hours=self.repeat_hours),
        )  # fmt: skip
