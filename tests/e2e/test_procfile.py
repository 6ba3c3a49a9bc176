"""`make run`: the Procfile's processes under honcho, from start to a clean end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import PROJECT, World


@pytest.mark.timeout(120)
def test_make_run_starts_all_and_sigterm_ends_all(tmp_path: Path) -> None:
    log = tmp_path / "honcho.log"
    honcho = [str(Path(sys.executable).with_name("honcho")), "start", "-f", "Procfile"]
    with World(tmp_path / "world") as world, log.open("wb") as output:
        environment = {**os.environ, **world.environment}
        process = subprocess.Popen(
            honcho, cwd=PROJECT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        service = Service(world.url, world.environment, tmp_path, world.admin_token, roles=())
        try:
            service.wait_ready()
            release = make_plain(world.platform, world.mirrored("run/procfile"), "v1.0.0").releases["v1.0.0"]
            sent = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)
            assert service.wait_for(sent.json["runs"][0]["id"], "done", "failed", "rejected")["status"] == "done"
            family = psutil.Process(process.pid).children(recursive=True)
            assert len(family) >= 6  # redis, web and its worker, the pool and its workers, the sweeper
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
    assert "Traceback" not in log.read_text(errors="replace")
    with pytest.raises(requests.ConnectionError):
        requests.get(world.url, timeout=2)
