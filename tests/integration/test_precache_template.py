"""The pre-cache template's script under a real sh, with each HTTP client alone, and with hostile values."""

import base64
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.precache_world import CLIENTS, CONTENT, ScriptedProxy, Shell, available, make_path, script
from tests.sandbox.processes import run
from tests.sandbox.serve import LoopbackServer

HOSTILE = (
    "$(touch pwned)",
    "`touch pwned`",
    '"; touch pwned; "',
    "'; touch pwned; '",
    "v1.2.0\ntouch pwned",
    "${IFS}touch pwned",
    "-o/tmp/pwned",
    "../../admin",
    "a//b",
    "v1.2.0 --output=pwned",
    "\x1b[31mred",
    "",
)
CHECKED = (
    "MODSYNC_MODULE_ESCAPED",
    "MODSYNC_VERSION_ESCAPED",
    "MODSYNC_VERSION",
    "MODSYNC_PROXY_URL",
    "MODSYNC_WAIT",
    "MODSYNC_PROXY_WAIT",
)
HOSTILE_PAIRS = [(name, value) for name in CHECKED for value in HOSTILE if value or "WAIT" not in name]
ORDER = [f"/example.com/!widgets/@v/v1.2.0.{kind}" for kind in CONTENT]
HTML = ("200 OK", b"<html>Sign in</html>", [("Content-Type", "text/html")])
MISS: tuple[str, bytes, list[tuple[str, str]]] = ("404 Not Found", b"not found", [])


@pytest.fixture
def proxy() -> ScriptedProxy:
    return ScriptedProxy()


@pytest.fixture
def url(proxy: ScriptedProxy) -> Iterator[str]:
    with LoopbackServer(proxy) as server:
        yield server.url


# busybox wget can neither hide a token nor read a netrc: the script refuses to use it for those.
can_authenticate = pytest.mark.parametrize(
    "client", [name for name in CLIENTS if name != "busybox-wget"], indirect=True
)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if available(name) is None:
        pytest.skip(f"{name.partition('-')[0]} is not installed")
    return name


@pytest.fixture
def shell(tmp_path: Path, client: str, url: str) -> Shell:
    return Shell(tmp_path, make_path(tmp_path / "bin", client), url)


@pytest.fixture
def python_shell(tmp_path: Path, url: str) -> Shell:
    return Shell(tmp_path, make_path(tmp_path / "bin", "python3"), url)


def test_asks_for_all_three_in_order_and_leaves_nothing(shell: Shell, proxy: ScriptedProxy) -> None:
    result = shell.run()
    assert (result.returncode, proxy.paths) == (0, ORDER), result.stdout
    assert b"modsync: done: the proxy has example.com/!widgets @ v1.2.0" in result.stdout
    assert list((shell.folder / "build").iterdir()) == []


def test_waits_for_an_asynchronous_proxy(shell: Shell, proxy: ScriptedProxy) -> None:
    proxy.answers = [MISS, ("410 Gone", b"", []), MISS]
    result = shell.run()
    assert (result.returncode, proxy.paths) == (0, ORDER[:1] * 3 + ORDER), result.stdout
    assert b"info: HTTP 404: the proxy does not have it (yet)" in result.stdout


def test_asks_again_after_passing_errors(shell: Shell, proxy: ScriptedProxy) -> None:
    proxy.answers = [("503 Unavailable", b"x", []), ("429 Too Many", b"x", []), ("500 Oops", b"", [])]
    assert shell.run().returncode == 0
    assert proxy.paths == ORDER[:1] * 3 + ORDER


def test_a_miss_ends_when_the_wait_is_over(shell: Shell) -> None:
    result = shell.run(MODSYNC_WAIT="1", MODSYNC_VERSION="v9.9.9", MODSYNC_VERSION_ESCAPED="v9.9.9")
    assert result.returncode == 1
    assert b"FAILED: info: HTTP 404: the proxy does not have it (yet); gave up after 1s" in result.stdout


def test_the_wait_is_what_proxies_of_the_kind_need_unless_somebody_set_another(shell: Shell) -> None:
    missing = {"MODSYNC_VERSION": "v9.9.9", "MODSYNC_VERSION_ESCAPED": "v9.9.9"}
    assert b"gave up after 1s" in shell.run(MODSYNC_WAIT="", MODSYNC_PROXY_WAIT="1", **missing).stdout
    assert b"gave up after 1s" in shell.run(MODSYNC_WAIT="1", MODSYNC_PROXY_WAIT="2100", **missing).stdout


def test_a_login_page_is_not_a_success(shell: Shell, proxy: ScriptedProxy) -> None:
    proxy.answers = [HTML] * 10_000
    result = shell.run(MODSYNC_WAIT="0")
    assert (result.returncode, len(proxy.paths)) == (1, 1)
    assert b"not a Go proxy's answer (a login page?" in result.stdout


@pytest.mark.parametrize("broken", [1, 2])
def test_a_mod_or_zip_that_is_none_is_not_a_success(python_shell: Shell, proxy: ScriptedProxy, broken: int) -> None:
    proxy.answers = [*[("200 OK", body, []) for body in CONTENT.values()][:broken], HTML]
    assert python_shell.run(MODSYNC_WAIT="0").returncode == 1
    assert proxy.paths == ORDER[: broken + 1]


def test_a_refusal_ends_at_once(shell: Shell, proxy: ScriptedProxy) -> None:
    proxy.answers = [("403 Forbidden", b"no", [])]
    result = shell.run()
    assert (result.returncode, len(proxy.paths)) == (1, 1)
    assert b"FAILED: info: HTTP 403: the proxy refuses us" in result.stdout


def test_a_proxy_that_is_down_is_named(shell: Shell) -> None:
    result = shell.run(MODSYNC_PROXY_URL="http://127.0.0.1:9", MODSYNC_WAIT="0")
    assert result.returncode == 1
    assert b"FAILED: info: no answer: " in result.stdout


@can_authenticate
def test_a_token_goes_to_the_proxy_but_not_into_arguments(shell: Shell, proxy: ScriptedProxy) -> None:
    result = shell.run(MODSYNC_PROXY_TOKEN='s3cr"e\\t$x')
    assert (result.returncode, set(proxy.authorizations)) == (0, {'Bearer s3cr"e\\t$x'}), result.stdout
    assert "s3cr" not in shell.argv() + result.stdout.decode()


@pytest.mark.parametrize("client", ["busybox-wget"], indirect=True)
def test_a_client_that_would_show_the_token_is_refused(shell: Shell, proxy: ScriptedProxy) -> None:
    result = shell.run(MODSYNC_PROXY_TOKEN="s3cret")
    assert (result.returncode, proxy.paths, "s3cret" in shell.argv()) == (1, [], False)
    assert b"cannot authenticate safely" in result.stdout


@can_authenticate
def test_basic_authentication(shell: Shell, proxy: ScriptedProxy) -> None:
    assert shell.run(MODSYNC_PROXY_USER="ci", MODSYNC_PROXY_TOKEN="s3cret").returncode == 0
    assert set(proxy.authorizations) == {"Basic " + base64.b64encode(b"ci:s3cret").decode()}
    assert "s3cret" not in shell.argv()


def test_a_killed_jobs_leftovers_go(python_shell: Shell, command: tuple[str, ...]) -> None:
    left = 'mkdir ".modsync-$$"; echo s3cret >".modsync-$$/curlrc"'
    result = replace(python_shell, command=command, before=left).run()
    assert result.returncode == 0, result.stdout
    assert list((python_shell.folder / "build").iterdir()) == []


def test_a_place_that_cannot_be_made_is_named(python_shell: Shell, command: tuple[str, ...]) -> None:
    (python_shell.path / "mkdir").unlink()
    (python_shell.path / "mkdir").symlink_to(shutil.which("false") or "false")
    result = replace(python_shell, command=command).run()
    assert result.returncode == 1
    assert f"modsync: FAILED: cannot make {python_shell.folder}/build/.modsync-" in result.stdout.decode()


@can_authenticate
def test_netrc(shell: Shell, proxy: ScriptedProxy, client: str) -> None:
    netrc = shell.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login ci password s3cret\n")
    if client == "wget":  # it answers a challenge, and sends nothing before one
        proxy.answers = [("401 Unauthorized", b"", [("WWW-Authenticate", 'Basic realm="proxy"')])]
    assert shell.run(MODSYNC_NETRC_FILE=str(netrc)).returncode == 0
    assert "Basic " + base64.b64encode(b"ci:s3cret").decode() in proxy.authorizations


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"machine 127.0.0.1 login ci password s3cret\nmachine a login b password two words of it", ", near line 2"),
        (b"machine 127.0.0.1 login ci password s3cr\xff\xfe\n", ": is it a netrc?"),
    ],
)
def test_a_netrc_that_cannot_be_read_ends_it_at_once_and_is_not_shown(
    python_shell: Shell, proxy: ScriptedProxy, command: tuple[str, ...], text: bytes, why: str
) -> None:
    netrc = python_shell.folder / "netrc"
    netrc.write_bytes(text)
    shell = replace(python_shell, command=command)
    result = shell.run(MODSYNC_NETRC_FILE=str(netrc))
    assert (result.returncode, proxy.paths) == (1, [])
    assert result.stdout.decode().splitlines()[1:] == [f"modsync: FAILED: MODSYNC_NETRC_FILE cannot be read{why}"]
    assert result.stderr == b""
    assert shell.run(MODSYNC_NETRC_FILE=str(netrc), MODSYNC_PROXY_TOKEN="t0ken").returncode == 0  # nobody reads it


@can_authenticate
def test_a_token_does_not_follow_a_redirect(shell: Shell, proxy: ScriptedProxy, client: str) -> None:
    elsewhere = ScriptedProxy()
    with LoopbackServer(elsewhere) as other:
        moved = [("302 Found", b"", [("Location", f"http://localhost:{other.port}{path}")]) for path in ORDER]
        proxy.answers = moved
        shell.run(MODSYNC_PROXY_TOKEN="s3cret")
    assert set(elsewhere.authorizations) <= {""}
    assert bool(elsewhere.paths) == (client != "wget")


@pytest.mark.parametrize(("name", "value"), HOSTILE_PAIRS)
def test_hostile_values_are_refused_before_anything_is_asked(
    python_shell: Shell, proxy: ScriptedProxy, name: str, value: str
) -> None:
    result = python_shell.run(**{name: value})
    assert (result.returncode, proxy.paths) == (1, [])
    assert result.stdout.startswith(b"modsync: FAILED: MODSYNC_")
    assert "pwned" not in result.stdout.decode() + "".join(path.name for path in python_shell.folder.rglob("*"))


@pytest.mark.parametrize("value", HOSTILE)
def test_values_that_are_only_looked_at_do_nothing(python_shell: Shell, value: str) -> None:
    result = python_shell.run(MODSYNC_MODULE=value, MODSYNC_RUN=value, MODSYNC_COMMIT=value)
    assert result.returncode == 0
    assert "pwned" not in result.stdout.decode() + "".join(path.name for path in python_shell.folder.rglob("*"))


@pytest.mark.parametrize("base", ["http://user:pw@127.0.0.1", "ftp://127.0.0.1", "file:///etc", "127.0.0.1", "http://"])
def test_only_a_plain_http_url_is_a_proxy(python_shell: Shell, base: str) -> None:
    result = python_shell.run(MODSYNC_PROXY_URL=base)
    assert result.returncode == 1
    assert b"MODSYNC_PROXY_URL" in result.stdout


SHELLS = (("bash", "-eo", "pipefail"), ("dash", "-e"), ("busybox", "sh", "-e"))
NUMBERS = ("MODSYNC_PROXY_WAIT", "MODSYNC_WAIT", "MODSYNC_POLL", "MODSYNC_REQUEST_TIMEOUT")


@pytest.fixture(params=SHELLS, ids=lambda command: command[0])
def command(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    if shutil.which(found[0]) is None:
        pytest.skip(f"{found[0]} is not installed")
    return found


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    ("value", "right"), [("0900", "900"), ("0100", "100"), ("00", "0"), ("0000000", "0"), ("007", "7")]
)
def test_a_leading_zero_is_refused_with_what_to_write(
    python_shell: Shell, proxy: ScriptedProxy, command: tuple[str, ...], name: str, value: str, right: str
) -> None:
    """To a shell's arithmetic 0900 is no number, and 0100 is 64."""
    result = replace(python_shell, command=command).run(**{name: value})
    assert (result.returncode, proxy.paths) == (1, [])
    assert result.stdout.decode() == f"modsync: FAILED: {name} has a leading zero: write {right} instead\n"


@pytest.mark.parametrize("name", NUMBERS[2:])
def test_no_pause_and_no_time_are_refused(
    python_shell: Shell, proxy: ScriptedProxy, command: tuple[str, ...], name: str
) -> None:
    result = replace(python_shell, command=command).run(**{name: "0"})
    assert (result.returncode, proxy.paths) == (1, [])
    assert result.stdout.decode() == f"modsync: FAILED: {name} must be at least 1\n"


@pytest.mark.parametrize(
    ("name", "value"), [("MODSYNC_WAIT", "0"), ("MODSYNC_POLL", "10"), ("MODSYNC_REQUEST_TIMEOUT", "1")]
)
def test_numbers_that_are_none_of_these_are_taken(
    python_shell: Shell, proxy: ScriptedProxy, command: tuple[str, ...], name: str, value: str
) -> None:
    result = replace(python_shell, command=command).run(**{name: value})
    assert (result.returncode, proxy.paths) == (0, ORDER), result.stdout


def test_the_pauses_double_up_to_half_a_minute(python_shell: Shell, proxy: ScriptedProxy) -> None:
    proxy.answers = [MISS] * 6
    assert python_shell.run(MODSYNC_POLL="3", MODSYNC_WAIT="600").returncode == 0
    assert python_shell.slept() == [3, 6, 12, 24, 30, 30]


def test_other_shells_run_it_as_well(shell: Shell, proxy: ScriptedProxy, command: tuple[str, ...]) -> None:
    result = replace(shell, command=command).run()
    assert (result.returncode, proxy.paths) == (0, ORDER), result.stdout + result.stderr
    assert replace(shell, command=command).run(MODSYNC_VERSION_ESCAPED="$(touch pwned)").returncode == 1


def test_an_image_of_busybox_and_curl_is_enough(tmp_path: Path, url: str, proxy: ScriptedProxy) -> None:
    if shutil.which("busybox") is None or shutil.which("curl") is None:
        pytest.skip("busybox or curl is not installed")
    path = make_path(tmp_path / "bin", "curl", tools="busybox")
    result = Shell(tmp_path, path, url, ("busybox", "sh", "-e")).run(MODSYNC_PROXY_TOKEN="s3cret")
    assert (result.returncode, proxy.paths) == (0, ORDER), result.stdout + result.stderr
    assert set(proxy.authorizations) == {"Bearer s3cret"}


def test_an_image_without_any_client_says_so(tmp_path: Path, url: str) -> None:
    path = make_path(tmp_path / "bin", "python3")
    (path / "python3").unlink()
    result = Shell(tmp_path, path, url).run()
    assert (result.returncode, b"neither curl nor python3 nor wget" in result.stdout) == (1, True)


def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    file = tmp_path / "precache.sh"
    file.write_text(f"#!/bin/sh\n{script()}")
    result = run(["shellcheck", "--shell=sh", str(file)], env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    assert result.returncode == 0, result.stdout.decode()
