"""`modsync` from another machine: a directory and an environment of its own, no configuration, the API and a token."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from tests.integration.cli_world import MODSYNC, Result
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import World

SECONDS = 170.0


@dataclass(frozen=True)
class Far:
    """Another machine's command line: nothing of the server's environment or files is known there."""

    home: Path
    url: str
    token: str

    def environment(self, **more: str) -> dict[str, str]:
        """What the commands run with; the token is in a file."""
        file = self.home / "token"
        file.write_text(self.token + "\n")
        kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        own = {"HOME": str(self.home), "TZ": "UTC", "LC_ALL": "C.UTF-8", "MODSYNC_URL": self.url}
        return {**kept, **own, "MODSYNC_TOKEN_FILE": str(file), **more}

    def __call__(self, *arguments: str, **more: str) -> Result:
        """Run to the end."""
        done = subprocess.run(
            [MODSYNC, *arguments], cwd=self.home, env=self.environment(**more), capture_output=True, text=True,
            timeout=SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert self.token not in done.stdout + done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run while the block lasts."""
        process = subprocess.Popen(
            [MODSYNC, *arguments], cwd=self.home, env=self.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)


def on_server(service: Service, *arguments: str) -> Result:
    """The same command where modsync runs."""
    done = subprocess.run(
        [MODSYNC, *arguments], env=service.environment | {"TZ": "UTC"}, capture_output=True, text=True, timeout=SECONDS
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def far(world: World, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Far:
    token = on_server(service, "token", "create", "on-call", "--role", "operator", "--days", "1").out.strip()
    return Far(tmp_path_factory.mktemp("far"), world.url, token)


def _failed(world: World, service: Service, repository: str) -> tuple[str, str, str]:
    """(run, module, version) of a release that failed since its commit was not there."""
    released = make_plain(world.platform, world.mirrored(repository), "v1.0.0")
    release = released.releases["v1.0.0"]
    world.platform.delete_tag(repository, "v1.0.0")
    run = str(_send(world, release).json["runs"][0]["id"])
    assert service.wait_for(run, "failed", "done", seconds=SECONDS)["error"]["code"] == "tag_missing"
    world.platform.tag(repository, "v1.0.0", release.commit)
    return run, released.path, "v1.0.0"


def _send(world: World, release: object):  # type: ignore[no-untyped-def]  # tests.sandbox.webhook.Delivered
    return world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)  # type: ignore[arg-type]


@pytest.mark.timeout(600)
def test_a_failed_run_is_found_replayed_and_watched_until_it_is_done(world: World, service: Service, far: Far) -> None:
    run, module, version = _failed(world, service, "far/replayed")
    listed = far("runs", "--status", "failed", "--module", module, "--json")
    assert [(each["id"], each["error"]["code"]) for each in listed.json["items"]] == [(run, "tag_missing")]
    shown = far("show", f"{run}-1-1")
    assert (shown.status, f"{module}@{version}  failed" in shown.out) == (0, True)
    assert far("gosum", f"{module}@{version}").status == 1

    begun = far("replay", f"{run}-1-1", "--reason", "the tag is there now")
    assert (begun.status, begun.out.splitlines()[0]) == (0, f"run {run}: new attempt, job {run}-2-1")
    watched = far("watch", run)
    assert watched.status == 0, watched.out + watched.err
    assert watched.out.splitlines()[-1].endswith("done")

    attempt = far("show", run, "--json").json["attempts"][1]
    assert (attempt["actor"], attempt["reason"]) == ("api:on-call", "the tag is there now")
    lines = far("gosum", f"{module}@{version}").out.splitlines()
    assert [line.split()[:2] for line in lines] == [[module, version], [module, f"{version}/go.mod"]]


@pytest.mark.timeout(600)
def test_both_ways_say_the_same(world: World, service: Service, far: Far) -> None:
    release = make_plain(world.platform, world.mirrored("far/same"), "v1.0.0").releases["v1.0.0"]
    run = str(_send(world, release).json["runs"][0]["id"])
    service.wait_for(run, "done", seconds=SECONDS)
    for command in (
        ["show", run], ["show", run, "--json"], ["runs", run], ["explain", release.query, "--json"],
        ["deliveries", "--limit", "1"], ["gosum", run],
    ):  # fmt: skip
        assert on_server(service, *command).out == far(*command).out, command


@pytest.mark.timeout(600)
def test_all_failed_runs_are_replayed_at_once(world: World, service: Service, far: Far) -> None:
    run, _, _ = _failed(world, service, "far/bulk")
    question = ("replay", "--failed", "tag_missing", "--since", "1h")
    assert run in far(*question, "--dry-run").out
    unasked = far(*question)
    assert (unasked.status, "give --yes" in unasked.err) == (2, True)
    done = far(*question, "--yes", "--json", "--reason", "all at once")
    assert done.status == 0, done.err
    assert {"run": run, "job": f"{run}-2-1", "error": None} in done.json["runs"]
    assert far("watch", run).status == 0


@pytest.mark.timeout(600)
def test_everything_is_watched_live_also_over_a_restart(world: World, service: Service, far: Far) -> None:
    release = make_plain(world.platform, world.mirrored("far/watched"), "v1.0.0").releases["v1.0.0"]
    with far.started("watch", "--json", "--interval", "0.2") as process:
        said, told = _lines(process.stderr), _lines(process.stdout)
        assert said.get(timeout=SECONDS) == "following all runs; Ctrl+C ends it"
        run = str(_send(world, release).json["runs"][0]["id"])
        seen: list[dict[str, Any]] = []
        while not seen or (seen[-1]["run"], seen[-1]["outcome"]) != (run, "done"):
            seen.append(json.loads(told.get(timeout=SECONDS)))
        steps = [each["stage"] for each in seen if (each["run"], each["what"], each["outcome"]) == (run, "step", "ok")]
        assert steps == ["mirror", "pipeline", "verify"]

        service.kill("web", signal.SIGTERM)
        assert said.get(timeout=SECONDS).startswith("server_unreachable: ")
        service.processes["web"].wait(SECONDS)
        service.start_role("web")
        service.wait_ready()
        assert said.get(timeout=SECONDS) == "it answers again"
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130


def _lines(stream: IO[str] | None) -> queue.Queue[str]:
    """The stream's lines as they come."""
    found: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in stream or ():
            found.put(line.rstrip("\n"))

    threading.Thread(target=read, daemon=True).start()
    return found


@pytest.mark.timeout(600)
def test_who_may_not_is_told_so(world: World, service: Service, far: Far) -> None:
    token = on_server(service, "token", "create", "looker", "--role", "viewer").out.strip()
    viewer = Far(far.home, far.url, token)
    assert viewer("runs").status == 0
    refused = viewer("replay", "r" + "0" * 19)
    assert (refused.status, refused.out) == (5, "")
    assert refused.err.startswith("error: forbidden_role: this needs the role operator; api:looker is viewer\nadvice: ")
    assert far("audit", "verify").err.startswith("error: forbidden_role: ")

    wrong = Far(far.home, far.url, "mst_" + "x" * 43)("runs")
    assert (wrong.status, wrong.err.splitlines()[0]) == (5, "error: unauthorized: the token is not valid")
    on_server(service, "token", "revoke", "looker")
    assert viewer("runs").status == 5


@pytest.mark.timeout(600)
def test_an_administrator_checks_the_audit_log_from_afar(service: Service, far: Far) -> None:
    token = on_server(service, "token", "create", "auditor", "--role", "admin").out.strip()
    admin = Far(far.home, far.url, token)
    checked = admin("audit", "verify", "--json")
    assert (checked.status, checked.json["fault"]) == (0, None)
    assert on_server(service, "audit", "export").out == admin("audit", "export").out


@pytest.mark.timeout(600)
def test_what_needs_the_server_says_so(far: Far) -> None:
    for command in (
        ["db", "upgrade"], ["config", "check"], ["token", "list"], ["worker"], ["sweeper"], ["web"], ["redis"],
        ["reconcile", "--all"],
    ):  # fmt: skip
        refused = far(*command)
        assert (refused.status, refused.out) == (2, ""), command
        assert refused.err.startswith(f"error: server_only: `modsync {' '.join(command[:2])}".rstrip("-al ")), command


@pytest.mark.timeout(600)
def test_a_server_that_is_away_and_a_token_that_is_missing(far: Far) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    away = Far(far.home, nobody, far.token)("runs")
    assert (away.status, away.out) == (4, "")
    assert away.err.startswith(f"error: server_unreachable: {nobody} does not answer: Connection refused\nadvice: ")
    named = far("--server", nobody, "runs")
    assert named.status == 4
    missing = far("runs", MODSYNC_TOKEN_FILE=str(far.home / "none"))
    assert (missing.status, missing.err.startswith("error: MODSYNC_TOKEN_FILE: cannot be read")) == (3, True)
