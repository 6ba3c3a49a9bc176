"""adnanh's `webhook`, where it is installed: it checks the HMAC and runs /bin/true, and records nothing."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.load import run
from tests.integration.web_world import SECRET, free_port, until

_SIGNED = {
    "match": {
        "type": "payload-hmac-sha256",
        "secret": SECRET,
        "parameter": {"source": "header", "name": "X-Gitlab-Token"},
    }
}


def rival(requests: Sequence[bytes], connections: Sequence[int], directory: Path) -> Iterator[str]:
    """Its lines, for comparison only."""
    program = shutil.which("webhook")
    if program is None:
        yield "webhook (adnanh's) is not installed: not compared"
        return
    hooks, port = directory / "hooks.json", free_port()
    hooks.write_text(json.dumps([{"id": "platform", "execute-command": "/bin/true", "trigger-rule": _SIGNED}]))
    command = [program, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port), "-urlprefix", "webhooks"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port))
        for number in connections:
            load = run(port, requests, number)
            yield f"webhook-{number} time={load.per_request * 1000:.2f}ms p99={load.p99 * 1000:.2f}ms {dict(load.statuses)}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
