"""deploy/compose.yaml and what it mounts: the Compose specification's schema, and what hardening and health ask for."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import load_settings
from app.config_models import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NAMES = sorted(SERVICES)
ONCE = {"owners"}
MADE_BY_WHOEVER_INSTALLS = ("./secrets/", "./tls")


def test_it_follows_the_compose_specification() -> None:
    found = importlib.util.find_spec("check_jsonschema")
    if found is None or found.origin is None:
        pytest.skip("check-jsonschema, which carries the Compose specification's schema, is not installed")
    import jsonschema_rs

    path = Path(found.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema_rs.validator_for(json.loads(path.read_text()))
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert not validator.is_valid({"services": {"web": {"imagee": "x"}}})


def test_all_parts_are_there() -> None:
    parts = {"web", "worker", "backfill", "sweeper", "redis", "postgres", "athens", "nginx", "prometheus", "grafana"}
    assert set(NAMES) - ONCE == parts


@pytest.mark.parametrize("name", NAMES)
def test_a_service_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert name in ONCE or int(str(service["user"]).partition(":")[0]) > 0
    assert re.fullmatch(r"modsync|[a-z/-]+:v?[0-9][\w.-]*", service["image"]), "an image of a version, not latest"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ONCE])
def test_a_service_tells_its_health(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_service_waits_for_is_there(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        needed = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert (other in SERVICES, condition["condition"]) == (True, needed)
    assert set(SERVICES[name].get("networks", [])) <= set(COMPOSE["networks"])
    assert set(SERVICES[name].get("secrets", [])) <= set(COMPOSE["secrets"])


@pytest.mark.parametrize("name", NAMES)
def test_what_a_service_mounts_is_there_and_only_named_volumes_are_written(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, rest = volume.partition(":")
        if not source.startswith("."):
            assert source in COMPOSE["volumes"]
            continue
        assert rest.endswith(":ro"), volume
        assert source.startswith(MADE_BY_WHOEVER_INSTALLS) or (DEPLOY / source).exists(), volume


def test_everybody_who_asks_others_trusts_the_same_bundle() -> None:
    """A company's CA has one place: modsync, Athens' go and git, and nginx have it from there."""
    for name in ("web", "worker", "backfill", "sweeper", "athens"):
        (mounted,) = (each for each in SERVICES[name]["volumes"] if each.startswith("./tls/ca-bundle.crt:"))
        inside = mounted.split(":")[1]
        if name == "athens":
            assert SERVICES[name]["environment"]["SSL_CERT_FILE"] == inside
            lines = dict(
                each.split("=", 1) for each in (DEPLOY / "athens/athens.env").read_text().splitlines() if "=" in each
            )
            given = dict(each.split("=", 1) for each in lines["ATHENS_GO_BINARY_ENV_VARS"].split(";"))
            assert (given["SSL_CERT_FILE"], given["GIT_SSL_CAINFO"]) == (inside, inside)
        else:
            settings = tomllib.loads((DEPLOY / "compose/modsync.toml").read_text())
            assert settings["outgoing"]["ca_file"] == inside
    upstreams = (DEPLOY / "compose/upstreams.conf").read_text()
    assert "proxy_ssl_trusted_certificate /etc/nginx/tls/ca-bundle.crt;" in upstreams
    assert "> tls/ca-bundle.crt" in (ROOT / "docs/deployment.md").read_text()


def test_no_secret_is_in_a_file() -> None:
    assert all(secret["file"].startswith("./secrets/") for secret in COMPOSE["secrets"].values())
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|TOKEN", key) or str(value).startswith("/run/secrets/"), key
    for path in (DEPLOY / "athens" / "athens.env", DEPLOY / "compose.yaml"):
        assert not re.search(r"(?i)(password|token|secret)\w*=\S|://[^/\s:]+:[^@\s]+@|VALIDATOR=", path.read_text())


def test_nginx_logs_to_its_containers_output_and_fills_no_memory() -> None:
    nginx = SERVICES["nginx"]
    places = [each.partition(":")[0] for each in nginx["tmpfs"]] + [each.split(":")[1] for each in nginx["volumes"]]
    assert [each for each in places if each.startswith("/var/log")] == []
    assert "./compose/log.conf:/etc/nginx/goproxy/log.conf:ro" in nginx["volumes"]
    logged = re.findall(r"^(access_log|error_log) (\S+)", (DEPLOY / "compose/log.conf").read_text(), re.MULTILINE)
    assert logged == [("access_log", "/dev/stdout"), ("error_log", "/dev/stderr")]
    assert nginx["logging"]["options"] == {"max-size": "50m", "max-file": "5"}


def test_only_nginx_is_open_to_others() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports.pop("nginx") == ["443:443"]
    assert all(port.startswith("127.0.0.1:") for each in ports.values() for port in each)
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert {name for name in NAMES if SERVICES[name].get("networks") == ["inside"]} == {
        "redis",
        "postgres",
        "prometheus",
    }


def test_nginx_starts_anew_with_those_whose_addresses_it_looked_up() -> None:
    configurations = "".join(path.read_text() for path in (DEPLOY / "compose").glob("*.conf"))
    asked = set(re.findall(r"(?:server |http://)([\w-]+):\d+", configurations))
    owners = {alias for alias in asked for name in SERVICES if alias in (name, f"modsync-{name}")}
    assert owners == {"athens", "modsync-web"}
    depends = SERVICES["nginx"]["depends_on"]
    assert {name for name, how in depends.items() if how.get("restart")} == {"athens", "web"}


def test_redis_keeps_what_it_was_given() -> None:
    assert " ".join(SERVICES["redis"]["command"]).startswith("redis-server --appendonly yes --appendfsync everysec")


def test_the_processes_are_the_procfiles() -> None:
    lines = dict(line.split(": exec .venv/bin/modsync ") for line in (ROOT / "Procfile").read_text().splitlines())
    lines.pop("redis")  # a server of its own here
    assert {name: " ".join(SERVICES[name]["command"]) for name in lines} == lines


def configuration(tmp_path: Path) -> Settings:
    raw = (DEPLOY / "compose" / "modsync.toml").read_text()
    for name in re.findall(r'"/run/secrets/([\w-]+)"', raw):
        assert name in SERVICES["web"]["secrets"]
        (tmp_path / name).write_text("a-secret-for-the-tests-of-compose")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "ca-bundle.crt").write_text("")
    here = raw.replace("/run/secrets", str(tmp_path)).replace(
        "/etc/modsync/ca-bundle.crt", str(tmp_path / "ca-bundle.crt")
    )
    (tmp_path / "modsync.toml").write_text(here)
    return load_settings(tmp_path / "modsync.toml", {})


def test_nginx_alone_is_believed_whose_request_it_passes_on(tmp_path: Path) -> None:
    (inside,) = COMPOSE["networks"]["inside"]["ipam"]["config"]
    nginx = ip_address(SERVICES["nginx"]["networks"]["inside"]["ipv4_address"])
    assert configuration(tmp_path).web.trusted_proxies == (ip_network(f"{nginx}/32"),)
    assert nginx in ip_network(inside["subnet"])
    assert nginx not in ip_network(inside["ip_range"])  # what the others are given
    front = (DEPLOY / "compose" / "modsync-front.conf").read_text()
    (name,) = re.findall(r"proxy_pass http://([\w-]+):8080;", front)
    # By a name of that network alone: by the other one it would come from another address.
    assert SERVICES["web"]["networks"] == {"inside": {"aliases": [name]}, "outside": {}}
    assert name not in SERVICES
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in front


def test_its_configuration_is_good(tmp_path: Path) -> None:
    settings = configuration(tmp_path)
    assert settings.warnings == ()
    assert str(settings.data_dir) == "/var/lib/modsync"
    assert COMPOSE["networks"]["inside"]["ipam"]["config"][0]["subnet"] in map(str, settings.access.metrics_networks)


def test_prometheus_asks_services_that_are_there() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = [
        target for job in config["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    ]
    assert {target.partition(":")[0] for target in targets} == {"web", "athens", "127.0.0.1"}
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def mounted(name: str) -> dict[str, Path]:
    """What a service finds of deploy/, by its own path."""
    volumes = [volume.split(":") for volume in SERVICES[name]["volumes"]]
    return {target: DEPLOY / source for source, target, *_ in volumes if source.startswith("./")}


def test_prometheus_finds_its_configuration_and_rules() -> None:
    ((place, directory),) = mounted("prometheus").items()
    (argument,) = [each for each in SERVICES["prometheus"]["command"] if each.startswith("--config.file=")]
    config = directory / Path(argument.partition("=")[2]).relative_to(place)
    patterns = yaml.safe_load(config.read_text()).get("rule_files", [])
    assert {path for path in directory.rglob("*.y*ml") if path != config} == {
        path for pattern in patterns for path in directory.glob(str(Path(pattern)).removeprefix(f"{place}/"))
    }, "each file of rules is named, and each name finds one"


def test_grafana_finds_its_sources_and_dashboards() -> None:
    found = mounted("grafana")
    provisioning = found["/etc/grafana/provisioning"]
    assert [path.suffix for path in (provisioning / "datasources").iterdir()] == [".yml"]
    providers = [
        provider
        for path in (provisioning / "dashboards").glob("*.yml")
        for provider in yaml.safe_load(path.read_text())["providers"]
    ]
    assert [provider["options"]["path"] for provider in providers] == ["/etc/grafana/modsync"]
    for path in found["/etc/grafana/modsync"].rglob("*.json"):
        assert json.loads(path.read_text())["title"], path


def test_athens_writes_where_volumes_are() -> None:
    lines = [line for line in (DEPLOY / "athens/athens.env").read_text().splitlines() if line and line[0] != "#"]
    values = dict(line.split("=", 1) for line in lines)
    mounted = [volume.split(":")[1] for volume in SERVICES["athens"]["volumes"]]
    for key in ("ATHENS_DISK_STORAGE_ROOT", "ATHENS_GOGET_DIR", "HOME"):
        assert values[key] in mounted
    assert values["ATHENS_DOWNLOAD_MODE"].removeprefix("file:") in mounted
    assert Path(SERVICES["athens"]["environment"]["ATHENS_NETRC_PATH"]).name in SERVICES["athens"]["secrets"]
