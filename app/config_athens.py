"""The tables of the settings about the private proxy: Athens' validation hook, and the clients' set-up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from app.config_table import Table
from app.config_types import HttpUrl

_MODULES = r"[A-Za-z0-9._~*?\[\]-]+(?:/[A-Za-z0-9._~*?\[\]-]+)*"


def module_pattern(value: str) -> str:
    """Path elements with `*` and `?`, as in GOPRIVATE. ValueError otherwise."""
    if not re.fullmatch(_MODULES, value):
        raise ValueError("is not a module pattern")
    return value


def version_pattern(value: str) -> str:
    """MODULES@VERSIONS, or MODULES alone. ValueError otherwise."""
    if not re.fullmatch(rf"{_MODULES}(?:@[A-Za-z0-9.+*?\[\]_-]+)?", value):
        raise ValueError("is not MODULES@VERSIONS")
    return value


ModulePattern = Annotated[str, AfterValidator(module_pattern)]
VersionPattern = Annotated[str, AfterValidator(version_pattern)]


def certificates(path: Path) -> str:
    """The PEM file's certificates without what stands around them; "" when there is none or it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""
    return "\n".join(re.findall(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", text))


class Athens(Table):
    """[athens]: Athens' validation hook; without a secret nobody is let in and every answer is 403."""

    secret: SecretStr | None = Field(default=None, description="The secret in the hook's address.")
    allow: tuple[ModulePattern, ...] = Field(
        default=(), description="List module patterns like go.corp.example or github.com/*, or leave it out for all."
    )
    block: tuple[VersionPattern, ...] = Field(
        default=(), description="List modules and versions to refuse, like github.com/x/y@v1.2.*."
    )
    block_moved: bool = Field(
        default=True, description="true or false: refuse versions whose newest run ended version_moved."
    )


class ClientSetup(Table):
    """[setup]: what /setup and /setup.sh tell developers; what is left out follows from the proxies and rules."""

    proxy_url: HttpUrl = Field(default="", description="Give the GOPROXY URL for developers, without credentials.")
    private: tuple[ModulePattern, ...] = Field(
        default=(), description="List the private module patterns, like go.corp.example."
    )
    ca_file: Path | None = Field(default=None, description="Name a PEM file with the company's CA certificates.")
    password: bool = Field(
        default=False, description="true or false: whether the proxy asks developers for a password."
    )
