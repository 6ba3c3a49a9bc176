"""The tables of the settings about time: how often things are tried and compared, and for how long they are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.config_table import Table
from app.config_types import Seconds
from app.domain.retry import RetryPolicy


class Retries(Table):
    """[retry]: how errors are tried again; the same numbers as app.domain.retry.RetryPolicy."""

    first_seconds: Seconds = Field(default=1.0, description="Give the first delay in seconds.")
    longest_seconds: Seconds = Field(default=60.0, description="Give the longest delay in seconds.")
    give_up_seconds: Seconds = Field(default=3600.0, description="Give the seconds after which an error ends the run.")
    patience_seconds: Seconds = Field(
        default=900.0, description="Give the seconds to wait for what is expected to appear."
    )

    @property
    def policy(self) -> RetryPolicy:
        """The policy that app.domain.retry decides by."""
        return RetryPolicy(
            first=self.first_seconds,
            longest=self.longest_seconds,
            give_up_after=self.give_up_seconds,
            patience=self.patience_seconds,
        )


class Reconcile(Table):
    """[reconcile]: comparing sources, mirrors and proxies by schedule; `interval_hours` 0 is off."""

    interval_hours: Annotated[float, Field(ge=0, le=8760, allow_inf_nan=False)] = Field(
        default=0.0, description="Give the hours between two comparisons of a repository, 0 for none by schedule."
    )
    requests_per_second: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = Field(
        default=5.0, description="Give the requests that comparing may make each second, above 0 and up to 1000."
    )


class Limits(Table):
    """[limits]: how long things are kept."""

    delivery_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=90, description="Give the days for which deliveries are kept with headers and body, 1 to 3650."
    )
    run_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        default=730, description="Give the days for which ended runs are kept, 0 for ever; releases always stay."
    )
    cache_gigabytes: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        default=50.0, description="Give the gigabytes that a host's git caches may take, 0 for no limit."
    )
    min_free_gigabytes: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        default=1.0, description="Give the gigabytes that must be free on the caches' disk, 0 to fetch to the end."
    )
