"""Reading one table: unknown keys, secrets, paths, then its model; every problem is collected, none ends the reading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from app.config_models import Problem
from app.domain.nearest import nearest

Model = TypeVar("Model", bound=BaseModel)

UNRESOLVED = SecretStr("a secret that could not be read")
"""Stands in for a secret with a problem, so that the checks after it go on."""

_SECRET_KEY = re.compile(r"(?:^|_)(?:token|secret|password|passwd|api_?key|private_key)$", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(?:gl(?:pat|ptt|rt|dt|cbt|oas|soat|ft|imt|agent)-|gh[pousr]_|github_pat_|whsec_|AKC[a-zA-Z0-9]{10}|"
    r"xox[abpr]-|eyJ[\w-]{10,}\.|-----BEGIN )"
)
_URL_PASSWORD = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]+@", re.IGNORECASE)


@dataclass
class Reader:
    """What is known while a file is read. `base` is the directory that relative paths start from."""

    environ: Mapping[str, str]
    base: Path
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def problem(self, key: str, what: str, fix: str) -> None:
        """Record a problem; of several at one key only the first, the others follow from it."""
        if all(known.key != key for known in self.problems):
            self.problems.append(Problem(key, what, fix))

    def warning(self, key: str, what: str, fix: str) -> None:
        """Record something that works but should be looked at."""
        self.warnings.append(Problem(key, what, fix))

    def secret_key(self, key: str, name: str) -> str:
        """The key under which the file names a secret of table `key`."""
        env, file = secret_keys(name)
        return env if self.origins.get(f"{key}.{name}", "$").startswith("$") else file

    def table(self, model: type[Model], raw: object, key: str) -> Model | None:
        """Read one table as `model`; None when it has a problem that leaves no usable value."""
        if not isinstance(raw, dict):
            self.problem(key, "is not a table", f"Write it as [{key}] with keys below it.")
            return None
        values = self._without_unknown(model, raw, key)
        for name, info in model.model_fields.items():
            if holds(info.annotation, SecretStr):
                self._secret(values, name, key)
            elif holds(info.annotation, Path):
                self._path(values, name, key)
            elif (item := item_model(info.annotation)) is not None and name in values:
                values[name] = self.tables(item, values[name], f"{key}.{name}")
        return self._validated(model, values, key)

    def tables(self, model: type[Model], raw: object, key: str) -> list[Model]:
        """Read an array of tables; those with problems are left out."""
        if not isinstance(raw, list):
            self.problem(key, "is not an array of tables", f"Write each of them as [[{key}]].")
            return []
        read = (self.table(model, item, f"{key}[{label(model, item, at)}]") for at, item in enumerate(raw, 1))
        return [item for item in read if item is not None]

    def _without_unknown(self, model: type[BaseModel], raw: dict[str, Any], key: str) -> dict[str, Any]:
        known = list(file_keys(model))
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if looks_secret(name, value):
                self._refuse_secret(model, values, name, key)
            elif name in known:
                values[name] = value
            else:
                self.problem(f"{key}.{name}", "is not a known key", nearest(name, known))
        return values

    def _refuse_secret(self, model: type[BaseModel], values: dict[str, Any], name: str, key: str) -> None:
        """A secret in the file: say where it goes, and let the checks after this go on as if it were there."""
        secrets = [field for field, info in model.model_fields.items() if holds(info.annotation, SecretStr)]
        stem = re.sub(r"_(?:env|file)$", "", name)
        meant = [stem] if stem in secrets else secrets
        keys = " or ".join(at for field in meant for at in secret_keys(field))
        self.problem(f"{key}.{name}", "holds a secret", f"{f'Use {keys}' if keys else 'Take it out'}, and change it.")
        values.update({field: UNRESOLVED for field in meant if model.model_fields[field].is_required()})

    def _secret(self, values: dict[str, Any], name: str, key: str) -> None:
        """Replace `name_env` or `name_file` in `values` by the secret they name, as `name`."""
        env_key, file_key = secret_keys(name)
        given = [(k, values.pop(k)) for k in (env_key, file_key) if k in values]
        if not given:
            return
        if len(given) == 2:
            self.problem(f"{key}.{env_key}", f"is set beside {file_key}", "Keep one of them.")
        at, where = given[0]
        found = self._found(where, f"{key}.{at}", from_env=at == env_key)
        if found is not None and not found:
            self.problem(f"{key}.{at}", "names an empty secret", "Put the secret there.")
        values[name] = SecretStr(found) if found else UNRESOLVED
        self.origins[f"{key}.{name}"] = f"${where}" if at == env_key else f"file {where}"

    def _found(self, where: object, key: str, *, from_env: bool) -> str | None:
        if not isinstance(where, str) or not where:
            self.problem(key, "is not a text", "Give the name of an environment variable or of a file.")
            return None
        return self._from_env(where, key) if from_env else self._from_file(where, key)

    def _from_env(self, variable: str, key: str) -> str | None:
        if variable not in self.environ:
            name = variable if re.fullmatch(r"[A-Z][A-Z0-9_]*", variable) else "(the variable that it names)"
            self.problem(key, f"{name} is not set in the environment", "Set the variable, or name another.")
            return None
        return self.environ[variable].strip()

    def _from_file(self, where: str, key: str) -> str | None:
        path = self.base / where
        try:
            text = path.read_text(encoding="utf-8").strip()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError, ValueError) as error:
            self.problem(key, f"cannot be read: {reason(error)}", "Name a readable text file that holds the secret.")
            return None
        if mode & 0o007:
            self.warning(key, "names a file that everybody on this machine can read", "chmod o= that file.")
        return text

    def _path(self, values: dict[str, Any], name: str, key: str) -> None:
        """Make a path absolute, from the file's directory; it must be a readable file."""
        where = values.get(name)
        if not isinstance(where, str):
            return
        path = values[name] = (self.base / where).absolute()
        try:
            with path.open("rb"):
                pass
        except (OSError, ValueError) as error:
            self.problem(f"{key}.{name}", f"cannot be read: {reason(error)}", "Name a readable file.")

    def _validated(self, model: type[Model], values: dict[str, Any], key: str) -> Model | None:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False, include_context=False):
                self._invalid(model, detail, key)
            return None

    def _invalid(self, model: type[BaseModel], detail: ErrorDetails, key: str) -> None:
        name = str(detail["loc"][0]) if detail["loc"] else ""
        info = model.model_fields[name]
        fix = info.description or ""
        if holds(info.annotation, SecretStr):
            fix = f"Set {' or '.join(secret_keys(name))}: {fix[:1].lower()}{fix[1:]}"
        self.problem(f"{key}.{name}", said(detail), fix)


def looks_secret(name: str, value: object) -> bool:
    """True for a text under a secret's name, a text in a known token's form, and a URL with a password."""
    if not isinstance(value, str):
        return False
    return any((_SECRET_KEY.search(name), _SECRET_VALUE.match(value), _URL_PASSWORD.match(value)))


def said(detail: ErrorDetails) -> str:
    """pydantic's message in our manner: the key is the sentence's subject."""
    if detail["type"] == "missing":
        return "is missing"
    message = detail["msg"].removeprefix("Value error, ")
    return re.sub(r"^(?:Input|Value|Tuple|String) should", "should", message)


def reason(error: Exception) -> str:
    """Why a file could not be read, without its path (the key says which one)."""
    if isinstance(error, OSError):
        return error.strerror or "unknown"
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no file can be named so"


def holds(annotation: object, wanted: type) -> bool:
    """True when the annotation is `wanted` or `wanted | None`."""
    return annotation is wanted or wanted in get_args(annotation)


def item_model(annotation: object) -> type[BaseModel] | None:
    """The model of an array of tables, None for any other annotation."""
    first = get_args(annotation)[0] if get_origin(annotation) is tuple else None
    return first if isinstance(first, type) and issubclass(first, BaseModel) else None


def secret_keys(name: str) -> tuple[str, str]:
    """The two keys of the file for a secret field."""
    return ("env", "file") if name == "value" else (f"{name}_env", f"{name}_file")


def file_keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key that the file may have in this table, in order."""
    for name, info in model.model_fields.items():
        if holds(info.annotation, SecretStr):
            yield from secret_keys(name)
        else:
            yield name


def label(model: type[BaseModel], item: object, at: int) -> str:
    """How an array's item is called in a key: by its own name (or the default one), else by its place from 1."""
    if isinstance(item, dict):
        for name in ("name", "id", "modules"):
            default = model.model_fields[name].default if name in model.model_fields else None
            value = item.get(name, default)
            if isinstance(value, str) and value and not _SECRET_VALUE.match(value):
                return value[:80]
    return f"#{at}"
