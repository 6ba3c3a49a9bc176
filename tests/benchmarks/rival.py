"""adnanh's `webhook`, where it is installed (Debian: webhook): it checks the HMAC, and does and records nothing.

The rule is "not signed", so a good signature ends in a refused rule, answered by 202, and no command is run for it.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.load import run
from tests.integration.web_world import SECRET, free_port, until

_NOT_SIGNED = {
    "not": {
        "match": {
            "type": "payload-hmac-sha256",
            "secret": SECRET,
            "parameter": {"source": "header", "name": "X-Gitlab-Token"},
        }
    }
}


def rival(requests: Sequence[bytes], connections: Sequence[int], directory: Path) -> Iterator[str]:
    """Its lines, for comparison only; none where it is not installed."""
    program = shutil.which("webhook")
    if program is None:
        return
    hooks, port = directory / "hooks.json", free_port()
    hook = {"id": "platform", "execute-command": "/bin/true", "trigger-rule": _NOT_SIGNED}
    hooks.write_text(json.dumps([{**hook, "trigger-rule-mismatch-http-response-code": 202}]))
    command = [program, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port), "-urlprefix", "webhooks"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port))
        for number in connections:
            load = run(port, requests, number)
            assert load.statuses == {202: len(requests)}, load.statuses
            yield f"webhook-{number} time={load.per_request * 1000:.2f}ms p99={load.p99 * 1000:.2f}ms {dict(load.statuses)}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
