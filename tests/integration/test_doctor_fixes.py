"""The commands that the doctor prints, run by a shell with a real `go`: afterwards it finds nothing more."""

import subprocess
from pathlib import Path

import pytest

from app.doctor.checks_settings import check_settings
from app.doctor.findings import Finding
from app.doctor.probe_settings import read_settings
from tests.integration.doctor_world import Machine
from tests.unit.test_doctor_rules_settings import COMPANY, PUBLIC

_UNTOUCHED = ("GOPROXY", "GONOSUMDB", "GOAUTH", "GOSUMDB", "GOFLAGS", "GOENV")
# One for each cause that a command can mend, and some that meet; the private pattern is named by one of the settings.
SICK: list[dict[str, str]] = [
    {"GOPROXY": "off"},
    {"GOPROXY": ","},
    {"GOPROXY": "http://goproxy.corp.example"},
    {"GOPROXY": "https://u:p@goproxy.corp.example,https://TOKEN@second.corp.example"},
    {"GOPROXY": "http://u:p@goproxy.corp.example|direct"},
    {"GOPROXY": f"{COMPANY}|https://second.corp.example"},
    {"GOPROXY": f"{COMPANY}|{PUBLIC}|direct"},
    {"GOPROXY": f"{PUBLIC},{COMPANY}", "GONOSUMDB": "go.corp.example"},
    {"GOPROXY": f"https://goproxy.cn,{COMPANY},direct", "GOPRIVATE": "go.corp.example"},
    {"GOPROXY": COMPANY, "GOPRIVATE": "go.corp.example,*.corp.example"},
    {"GOPROXY": COMPANY, "GOPRIVATE": "a.example", "GONOPROXY": "a.example"},
    {"GOPROXY": COMPANY, "GOPRIVATE": "a.example,b.example", "GONOPROXY": "a.example"},
    {"GOPROXY": COMPANY, "GONOPROXY": "go.corp.example"},
    {"GOPROXY": COMPANY, "GOPRIVATE": "*"},
    {"GOPROXY": PUBLIC, "GOPRIVATE": "*"},
    {"GOPROXY": COMPANY, "GONOSUMDB": "*"},
    {"GOPROXY": COMPANY, "GONOSUMDB": "go.corp.example,github.com"},
    {"GOPROXY": COMPANY, "GOSUMDB": "off"},
    {"GOPROXY": COMPANY, "GOSUMDB": "sum.corp.example"},
    {"GOPROXY": COMPANY, "GOFLAGS": "-mod=mod -modcacherw"},
    {"GOPROXY": COMPANY, "GOFLAGS": "bogus"},
    {"GOPROXY": COMPANY, "GOFLAGS": "-bogus"},
    {"GOPROXY": COMPANY, "GOFLAGS": "'-unclosed"},
    {"GOPROXY": COMPANY, "GOINSECURE": "go.corp.example"},
    {"GOPROXY": "goproxy"},
    {"GOPROXY": "https://goproxy.corp.example:PORT"},
    {"GOPROXY": "file://srv/modules"},
    {"GOPROXY": COMPANY, "GONOSUMDB": "a.example, b.example"},
    {"GOPROXY": COMPANY, "GOPRIVATE": "a.example, b.example"},
    {"GOPROXY": COMPANY, "GOSUMDB": "sum.golang.org ftp://x"},
]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing is set; what `go env -w` writes stays in its home."""
    machine = Machine.of(tmp_path)
    for name in _UNTOUCHED:
        machine.environment.pop(name, None)
    return machine


def findings(machine: Machine) -> list[Finding]:
    return list(check_settings(read_settings(machine.environment)))


def mend(machine: Machine) -> None:
    """As somebody does it: run what the first finding says, ask again, until there is none; keep what it exports."""
    for _ in range(6):
        if not (found := findings(machine)):
            return
        script = f"{found[0].fix}\nenv -0"
        done = subprocess.run(
            ["sh", "-ec", script], env=machine.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, script + done.stderr
        machine.environment = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


@pytest.mark.parametrize("settings", SICK, ids=str)
def test_what_go_itself_keeps_is_mended_by_what_is_printed(machine: Machine, settings: dict[str, str]) -> None:
    """Settings as `go env -w` keeps them; written by hand, for go writes none that it refuses."""
    file = Path(machine.environment["HOME"]) / ".config/go/env"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    assert findings(machine)
    mend(machine)
    assert findings(machine) == []


@pytest.mark.parametrize("settings", SICK, ids=str)
def test_what_the_shell_exports_is_mended_by_what_is_printed(machine: Machine, settings: dict[str, str]) -> None:
    machine.environment |= settings
    assert findings(machine)
    mend(machine)
    assert findings(machine) == []


@pytest.mark.parametrize("settings", SICK, ids=str)
def test_so_it_is_where_go_reads_nothing_that_it_keeps(machine: Machine, settings: dict[str, str]) -> None:
    """With GOENV=off go does not read what `go env -w` wrote."""
    machine.environment |= settings | {"GOENV": "off"}
    assert findings(machine)
    mend(machine)
    assert findings(machine) == []


@pytest.mark.parametrize(
    "flags", ["-modcacherw", "-race -v", "-tags=a,b", "-ldflags=-s", "'-ldflags=-s -w' -trimpath", "-count=1"]
)
def test_flags_that_go_takes_are_no_finding(machine: Machine, flags: str) -> None:
    machine.environment |= {"GOPROXY": COMPANY, "GOFLAGS": flags}
    assert findings(machine) == []
    machine.environment["PATH"] = "/nowhere"
    assert findings(machine) == []


@pytest.mark.parametrize("flags", ["bogus", "-modcacherw bogus", "-=x", "--"])
def test_flags_that_cannot_be_are_found_without_go_too(machine: Machine, flags: str) -> None:
    machine.environment |= {"GOPROXY": COMPANY, "GOFLAGS": flags}
    assert machine.go("version").returncode != 0
    said = [finding.seen for finding in findings(machine)]
    machine.environment["PATH"] = "/nowhere"
    wrong = flags.split()[-1]
    assert [finding.seen for finding in findings(machine)] == [f'go refuses GOFLAGS: non-flag "{wrong}"']
    assert said == [f'go refuses GOFLAGS: parsing $GOFLAGS: non-flag "{wrong}"']
