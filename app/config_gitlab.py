"""The tables of the settings that are about GitLab: the mirrors, and where `go` finds them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from app.config_table import SourceSecret, Table
from app.config_types import Branch, HttpUrl, Network, Seconds


def clone_template(value: str) -> str:
    """A clone URL with `{mirror}` in its path, or "". ValueError otherwise."""
    scheme, _, rest = value.partition("://")
    host, _, path = rest.partition("/")
    if value and (scheme not in ("https", "http", "ssh") or not host or "{" in host or "{mirror}" not in path):
        raise ValueError("is not a clone URL with {mirror} in its path")
    if ":" in host.rpartition("@")[0] or any(each.isspace() or each in "\"'<>" for each in value):
        raise ValueError("has a password, or characters that are not in URLs")
    return value


class GitLab(Table):
    """[gitlab]: where the mirrors are and the pipelines run."""

    url: HttpUrl = Field(description="Give GitLab's address, like https://gitlab.corp.example.")
    token: SecretStr = Field(description="A group access token: role Maintainer, scopes api and write_repository.")
    username: str = Field(default="oauth2", min_length=1, description="Give the user name for git over HTTP.")
    branch: Branch = Field(default="ci-sync", description="Give the mirror branch to push to, like ci-sync.")
    ci_config_path: str = Field(
        default="", description="Name the pipeline's file, like precache.yml@platform/ci-templates, or leave it out."
    )
    pipeline_ref: Literal["ci-sync", "tag"] = Field(
        default="ci-sync", description='Choose "ci-sync" (the branch) or "tag".'
    )
    pipeline_parameters: Literal["variables", "inputs"] = Field(
        default="variables", description='Choose "variables", or "inputs" (GitLab 18.1 and newer).'
    )
    trigger_token: SecretStr | None = Field(
        default=None, description="A pipeline trigger token: pipelines are then started with it."
    )
    hook_secrets: tuple[SourceSecret, ...] = Field(
        default=(), description='List the secrets of GitLab\'s pipeline webhooks: [{ id = "2026-11", env = "NAME" }].'
    )
    breaker_seconds: Annotated[float, Field(ge=30, le=86400)] = Field(
        default=300.0,
        description="Give the seconds for which GitLab is left alone after it refused the token, 30 to 86400.",
    )
    visibility: Literal["private", "internal", "public"] = Field(
        default="private", description='Choose "private", "internal" or "public" for new mirror projects.'
    )
    backfill_pipelines: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=10, description="Give the most pipelines of backfills that are in flight at a time, 0 for any number."
    )
    pipeline_timeout_seconds: Seconds = Field(
        default=3600.0, description="Give the longest wait for a pipeline in seconds."
    )
    poll_first_seconds: Seconds = Field(default=1.0, description="Give the first wait between two looks at a pipeline.")
    poll_longest_seconds: Seconds = Field(
        default=30.0, description="Give the longest wait between two looks at a pipeline."
    )
    timeout_seconds: Seconds = Field(
        default=30.0, description="Give the longest wait for an API answer, or its next part, in seconds."
    )


class Discovery(Table):
    """[discovery]: answers to `go`'s question where a module's repository is."""

    mode: Literal["off", "open", "token", "networks"] = Field(
        default="off", description='Choose "off", "open", "token" or "networks": who may ask where mirrors are.'
    )
    token: SecretStr | None = Field(default=None, description="The token to ask with: a Bearer, or a password.")
    networks: tuple[Network, ...] = Field(default=(), description="List the networks that may ask, like 10.0.0.0/8.")
    clone: Annotated[str, AfterValidator(clone_template)] = Field(
        default="", description="Give the clone URL to answer with, like ssh://git@gitlab.corp.example/{mirror}.git."
    )
