"""A real nginx reads its configuration as compose.yaml puts it together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.integration.nginx_world import NGINX, needs_nginx, nginx, wait_for

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# Names that only Compose's own DNS and the open network know.
ELSEWHERE = ("athens:3000", "modsync-web:8080", "sum.golang.org:443")
MAIN = "pid nginx.pid; error_log stderr; events {{}} http {{ access_log off; include {conf}/*.conf; }}\n"


@needs_nginx
def test_nginx_takes_it(tmp_path: Path) -> None:
    etc = tmp_path / "etc" / "nginx"
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for volume in services["nginx"]["volumes"]:
        source, target, *_ = volume.split(":")
        if source.startswith("./") and source != "./tls":
            put(DEPLOY / source, tmp_path / target.lstrip("/"))
    certificates(etc / "tls")
    for path in etc.rglob("*.conf"):
        path.write_text(here(path.read_text(), tmp_path))
    # Relative includes start from the directory of the main file.
    (etc / "nginx.conf").write_text(MAIN.format(conf=etc / "conf.d"))
    done = subprocess.run(
        [str(NGINX), "-t", "-p", str(tmp_path), "-c", str(etc / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "test is successful" in done.stderr


@needs_nginx
def test_each_request_and_each_error_is_in_the_containers_output(tmp_path: Path) -> None:
    with nginx(tmp_path, log=(DEPLOY / "compose/log.conf").read_text()) as front:
        output = tmp_path / "out"
        assert front.get("/go.corp.example/secret/@v/v1.0.0.info").status == 200
        wait_for(lambda: '"module":"go.corp.example/secret"' in output.read_text())
        line = next(each for each in output.read_text().splitlines() if each.startswith("{"))
        assert (json.loads(line)["version"], json.loads(line)["status"]) == ("v1.0.0", "200")
        front.servers["private"].close()
        assert front.get("/go.corp.example/secret/@v/v9.0.0.info").status == 502
        wait_for(lambda: "connect() failed" in output.read_text())
        assert not front.log.exists()


def put(source: Path, target: Path) -> None:
    """A file or a directory to where the container has it; a file may lie in a directory that was put before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def here(text: str, root: Path) -> str:
    """The same configuration without the names of other machines and the system's directories."""
    for name in ELSEWHERE:
        text = text.replace(name, "127.0.0.1:9")
    for directory in ("/etc/nginx", "/var/cache/nginx", "/var/log/nginx"):
        (root / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
        text = text.replace(f" {directory}/", f" {root}{directory}/")
    # An ordinary user may not listen on 443, not even for a test of the configuration.
    return re.sub(r"(listen (?:\[::\]:)?)443", r"\g<1>8443", text)


def certificates(directory: Path) -> None:
    directory.mkdir(parents=True)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", directory / "ca-bundle.crt")
    for name in ("goproxy", "modsync"):
        key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "2", "-subj", f"/CN={name}.corp.example", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
