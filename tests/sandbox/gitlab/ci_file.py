"""Reading a CI file: where it comes from, its workflow, its jobs. Only what the pre-cache template needs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.sandbox.gitlab.ci_rules import chosen_rule, expand
from tests.sandbox.gitlab.errors import base_error
from tests.sandbox.gitlab.model import JobSpec, Level, Project, User
from tests.sandbox.gitlab.world import World

_KEYWORDS = {"workflow", "variables", "stages", "default", "image", "include", "before_script", "after_script", "spec"}
_DEFAULT_PATH = ".gitlab-ci.yml"
_STAGES = ["build", "test", "deploy"]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INPUT = re.compile(r"\$\[\[\s*inputs\.([\w-]+)\s*\]\]")


@dataclass(frozen=True)
class CiConfig:
    """A CI file, evaluated for one set of variables; `name` is the workflow's, expanded."""

    name: str | None
    stages: tuple[str, ...]
    jobs: tuple[JobSpec, ...]


def _no_file(_path: str) -> str | None:
    return None


def local_reader(world: World, project: Project, sha: str) -> Callable[[str], str | None]:
    """Reads files beside the project's CI file, in the project that it is in."""
    _, _, other = str(project.settings["ci_config_path"] or _DEFAULT_PATH).partition("@")
    where = world.project(other.partition(":")[0]) if other else project
    if where is None:
        return _no_file
    tip = world.repository(where).ref(f"refs/heads/{where.default_branch}") if other else None
    commit = tip.commit if tip else sha
    return lambda name: world.repository(where).read(commit, name.lstrip("/"))


def ci_text(world: World, user: User, project: Project, sha: str) -> str | None:
    """The text of the CI file that applies to this commit; None when there is none.

    Raises ApiError 400 for a file in another project that the user cannot read.
    """
    path, _, other = str(project.settings["ci_config_path"] or _DEFAULT_PATH).partition("@")
    text = _foreign_text(world, user, path, other) if other else world.repository(project).read(sha, path)
    fallback = world.settings.ci_file
    return fallback.read_text() if text is None and fallback else text


def parse(
    text: str, variables: Mapping[str, str], inputs: Mapping[str, Any], local: Callable[[str], str | None] = _no_file
) -> CiConfig:
    """The pipeline that this file makes. Raises ApiError 400 with GitLab's texts where it makes none.

    `local` reads the files that it includes by `include: local`.
    """
    try:
        return _parse(text, variables, inputs, local)
    except ValueError as error:
        raise base_error(str(error)) from error


def _parse(
    text: str, variables: Mapping[str, str], inputs: Mapping[str, Any], local: Callable[[str], str | None]
) -> CiConfig:
    document = _included(_document(text, inputs), local)
    workflow = document.get("workflow") or {}
    known = {**_texts(document.get("variables")), **variables}
    rule = chosen_rule(workflow.get("rules"), known)
    if rule is None or rule.get("when") == "never":
        raise base_error("Pipeline filtered out by workflow rules.")
    jobs = [job for name, body in _bodies(document) if (job := _job(name, body, document, variables)) is not None]
    if not jobs:
        raise base_error(
            "Pipeline will not run for the selected trigger. "
            "The rules configuration prevented any jobs from being added to the pipeline."
        )
    name = workflow.get("name")
    stages = (".pre", *document.get("stages", _STAGES), ".post")
    return CiConfig(expand(str(name), known).strip()[:255] if name else None, stages, tuple(jobs))


def _foreign_text(world: World, user: User, path: str, other: str) -> str | None:
    where, _, ref = other.partition(":")
    project = world.project(where)
    if project is None or (project.visibility == "private" and world.level(user, project) < Level.REPORTER):
        raise base_error(
            f"Project `{where}` not found or access denied! "
            "Make sure any includes in the pipeline configuration are correctly defined."
        )
    git = world.repository(project)
    tip = git.ref(f"refs/heads/{ref or project.default_branch}") or git.ref(f"refs/tags/{ref}")
    text = git.read(tip.commit, path) if tip else None
    if text is None and not world.settings.ci_file:
        raise base_error(f"Project `{where}` file `{path}` does not exist!")
    return text


def _document(text: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The file's jobs and keywords; a `spec:inputs` header is applied and taken off."""
    try:
        documents = [one for one in yaml.safe_load_all(text) if one]
    except yaml.YAMLError as error:
        raise base_error(f"Invalid configuration format: {error}") from error
    header = documents.pop(0).get("spec", {}) if len(documents) > 1 else {}
    declared = header.get("inputs") or {}
    if unknown := sorted(set(inputs) - set(declared)):
        raise base_error(
            f"Given inputs not defined in the `spec` section of the included configuration file: {unknown}"
        )
    values = {name: _input(name, spec or {}, inputs) for name, spec in declared.items()}
    if not documents or not isinstance(documents[0], dict):
        raise base_error("Invalid configuration format")
    filled: dict[str, Any] = _interpolated(documents[0], values)
    return filled


def _included(document: dict[str, Any], local: Callable[[str], str | None]) -> dict[str, Any]:
    """What `include: - local:` names lies below the file's own keys; variables are merged one by one."""
    merged: dict[str, Any] = {}
    for entry in document.get("include") or []:
        path = str(entry["local"])
        text = local(path)
        if text is None:
            raise base_error(f"Local file `{path}` does not exist!")
        merged |= _document(text, {})
    variables = {**(merged.get("variables") or {}), **(document.get("variables") or {})}
    return {**merged, **document, "variables": variables}


def _input(name: str, spec: dict[str, Any], inputs: Mapping[str, Any]) -> str:
    if name not in inputs and "default" not in spec:
        raise base_error(f"`{name}` input: required value has not been provided")
    return str(inputs.get(name, spec.get("default")))


def _interpolated(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _interpolated(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolated(value, values) for value in node]
    return _INPUT.sub(lambda match: values.get(match.group(1), ""), node) if isinstance(node, str) else node


def _bodies(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The jobs: not the keywords, and not the hidden ones."""
    return [
        (str(name), body)
        for name, body in document.items()
        if name not in _KEYWORDS and not str(name).startswith(".") and isinstance(body, dict)
    ]


def _job(name: str, body: dict[str, Any], document: dict[str, Any], given: Mapping[str, str]) -> JobSpec | None:
    """A job, or None where its rules leave it out. `given` are the variables that stand above the file's own."""
    own = {**_texts(document.get("variables")), **_texts(body.get("variables"))}
    rule = chosen_rule(body.get("rules"), {**own, **given})
    when = (rule or {}).get("when", body.get("when", "on_success"))
    if rule is None or when == "never":
        return None
    default = document.get("default") or {}
    return JobSpec(
        name=name,
        stage=str(body.get("stage", "test")),
        script=[*_lines(body.get("before_script", default.get("before_script"))), *_lines(body.get("script"))],
        variables=own,
        retries=_retries(body.get("retry", default.get("retry", 0))),
        timeout=seconds(str(body.get("timeout", default.get("timeout", "1h")))),
        allow_failure=bool(rule.get("allow_failure", body.get("allow_failure", False))),
        manual=when == "manual",
    )


def seconds(text: str) -> float:
    """`1h 30m`, `90 minutes`, `3600` in seconds."""
    found = re.findall(r"(\d+)\s*([a-z]*)", text.lower())
    return float(sum(int(number) * _UNITS.get(unit[:1] or "s", 1) for number, unit in found))


def _retries(value: Any) -> int:
    return int(value.get("max", 0)) if isinstance(value, dict) else int(value)


def _lines(value: Any) -> list[str]:
    return [str(value)] if isinstance(value, str) else [str(line) for line in value or []]


def _texts(variables: Any) -> dict[str, str]:
    """YAML variables as text; the long form (`value:`, `description:`) gives its value."""
    return {
        str(key): str(value.get("value", "") if isinstance(value, dict) else value)
        for key, value in (variables or {}).items()
    }
