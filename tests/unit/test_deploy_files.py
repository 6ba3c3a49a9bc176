"""deploy/Dockerfile by rules that hadolint (`make lint`) lacks, and deploy/systemd by systemd's own check where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def faults(text: str) -> Iterator[str]:
    """What is wrong with a Dockerfile."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    steps = [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]
    stages = [number for number, (name, _) in enumerate(steps) if name == "FROM"]
    last = [value for name, value in steps[stages[-1] :] if name == "USER"]
    if not last or not last[-1].split(":")[0].isdigit() or int(last[-1].split(":")[0]) == 0:
        yield "the last stage's user is root, or a name that Kubernetes cannot check"
    for name, value in steps:
        yield from _step(name, value)


def _step(name: str, value: str) -> Iterator[str]:
    if name in ("ENV", "ARG") and re.search(r"(?i)(token|secret|password)\w*=", value):
        yield f"a secret in {name}"
    if "pip install" in value and "--require-hashes" not in value and "--no-deps" not in value:
        yield "pip installs what is not locked"
    if name == "COPY" and "--from" not in value:
        yield from (f"not there: {each}" for each in value.split()[:-1] if not (ROOT / each).exists())


def test_nothing_is_wrong_with_the_dockerfile() -> None:
    assert list(faults((ROOT / "deploy" / "Dockerfile").read_text())) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("FROM python:3.13\nRUN true", "user is root"),
        ("FROM python:3.13\nUSER 0:0", "user is root"),
        ("FROM python:3\nENV GITLAB_TOKEN=x\nUSER 1", "a secret"),
        ("FROM python:3\nRUN pip install flask\nUSER 1", "not locked"),
        ("FROM python:3\nCOPY nowhere ./\nUSER 1", "not there: nowhere"),
    ],
)
def test_the_lint_finds(text: str, fault: str) -> None:
    assert any(fault in found for found in faults(text))


def test_the_wheels_packages_and_files_are_copied() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    packages = re.search(r"^packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.M)
    assert packages
    for name in re.findall(r'"(\w+)"', packages[1]):
        assert f"COPY {name} ./{name}\n" in text
    assert "COPY pyproject.toml README.md LICENSE ./" in text


def test_the_units_run_what_the_procfile_runs() -> None:
    lines = dict(line.split(": exec .venv/bin/modsync ") for line in (ROOT / "Procfile").read_text().splitlines())
    lines.pop("redis")
    found = {unit.stem.removeprefix("modsync-"): unit.read_text() for unit in UNITS}
    assert found.keys() == lines.keys()
    for name, command in lines.items():
        assert f"\nExecStart=/opt/modsync/bin/modsync {command}\n" in found[name]
        # The target starts what is enabled on a host, and stops when all of it has stopped.
        assert {"PartOf=modsync.target", "WantedBy=modsync.target"} <= set(found[name].splitlines())
        assert re.search(r"^After=.* modsync\.target$", found[name], re.M)
    assert ".service" not in (ROOT / "deploy/systemd/modsync.target").read_text()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_a_unit_is_hardened_and_ends_in_time(unit: Path) -> None:
    lines = set(unit.read_text().splitlines())
    wanted = {"User=modsync", "NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=always", "StateDirectory=modsync"}
    assert wanted <= lines
    assert not [line for line in lines if re.match(r"(?i)Environment=.*(token|secret|password)", line)]


def test_systemd_understands_them(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; the other tests read the units")
    for unit in (*UNITS, ROOT / "deploy/systemd/modsync.target"):
        # The program is not installed here, and systemd would say so.
        text = unit.read_text().replace("/opt/modsync/bin/modsync", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = _verify(*sorted(tmp_path.iterdir()))
    assert (done.returncode, done.stderr) == (0, "")
    broken = tmp_path / "modsync-web.service"
    broken.write_text(broken.read_text().replace("Restart=always", "Restrat=always"))
    assert "Restrat" in _verify(broken).stderr


def test_the_environment_s_file_has_what_the_example_names() -> None:
    """And in a form that systemd and a shell read alike: nothing but comments and values in single quotes."""
    lines = [line for line in (ROOT / "deploy/systemd/modsync.env").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[A-Z_]+='[^']*'", line)] == []
    example = (ROOT / "modsync.example.toml").read_text()
    named = re.findall(r'^[^#\n]*\benv = "(\w+)"|^\w+_env = "(\w+)"', example, re.M)
    assert {"".join(pair) for pair in named} | {"REDIS_URL"} == {line.partition("=")[0] for line in lines}


def test_the_guide_installs_this_version() -> None:
    (version,) = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert f"\n    version={version} " in (ROOT / "docs/deployment.md").read_text()


def _verify(*units: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "verify", "--man=no", *map(str, units)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
