"""Who may use the front: addresses, client certificates, passwords; and what a real `go` needs for each."""

from pathlib import Path

import pytest

from tests.integration.nginx_world import PRIVATE, SHIPPED, Front, needs_nginx, nginx, wait_for
from tests.sandbox.bad_servers import Authority, Listener, mutual_forwarder
from tests.sandbox.processes import run

pytestmark = needs_nginx

LIST = f"/{PRIVATE}/@v/list"
ADDRESSES = (SHIPPED / "goproxy/access.conf").read_text()
MUTUAL = ADDRESSES.replace("# include goproxy/mutual-tls.conf;", "include goproxy/mutual-tls.conf;")


def asked(front: Front) -> list[str]:
    return front.private.asked + front.public.asked + front.sumdb.asked


def test_an_address_of_the_list_comes_in(tmp_path: Path) -> None:
    with nginx(tmp_path) as front:
        assert front.get(LIST).status == 200


def test_an_address_that_is_not_allowed_gets_nothing(tmp_path: Path) -> None:
    with nginx(tmp_path, access=ADDRESSES.replace("allow 127.0.0.1;", "")) as front:
        machine = front.machine()
        output = machine.download(f"{PRIVATE}@v1.0.0")
        assert "403 Forbidden" in output
        assert "forbidden" in machine.codes("--module", f"{PRIVATE}@v1.0.0")
        assert machine.explained(output) == ["forbidden"]
        assert front.get("/healthz").status == 200  # nginx' own fixed answers come before the list, as documented
        assert asked(front) == []


def test_a_client_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with nginx(tmp_path, access=MUTUAL) as front:
        assert front.get(LIST).status == 400
        assert front.get("/healthz").status == 400
        output = front.machine().download(f"{PRIVATE}@v1.0.0")
        assert "400 Bad Request" in output
        assert front.machine().codes("--module", f"{PRIVATE}@v1.0.0") == ["client-certificate"]
        assert front.machine().explained(output) == ["client-certificate"]
        assert asked(front) == []


def test_a_client_with_a_certificate_comes_in(tmp_path: Path) -> None:
    with nginx(tmp_path, access=MUTUAL) as front:
        own = front.authority.issue("laptop-7.corp.example")
        assert front.get(LIST, certificate=own).body == b"v1.0.0\n"
        wait_for(lambda: "CN=laptop-7.corp.example" in front.log.read_text())


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    with nginx(tmp_path, access=MUTUAL) as front:
        foreign = Authority(tmp_path / "foreign", "Foreign CA").issue("laptop-7.corp.example")
        assert front.get(LIST, certificate=foreign).status == 400
        assert asked(front) == []


def test_go_comes_in_through_a_forwarder_that_holds_the_certificate(tmp_path: Path) -> None:
    with nginx(tmp_path, access=MUTUAL) as front:
        own = front.authority.issue("laptop-7.corp.example")
        forwarder = mutual_forwarder(own, front.authority.ca_file, "localhost", front.port)
        with Listener(forwarder) as door:
            machine = front.machine(GOPROXY=door.url)
            done = machine.go("mod", "download", f"{PRIVATE}@v1.0.0")
            assert done.returncode == 0, done.stderr
            assert machine.codes("--module", f"{PRIVATE}@v1.0.0") == []


def test_go_comes_in_with_a_password_from_netrc(tmp_path: Path) -> None:
    hashed = (
        run(["openssl", "passwd", "-apr1", "secret"], env={"PATH": "/usr/bin:/bin"}, check=True).stdout.decode().strip()
    )
    users = tmp_path / "users"
    users.write_text(f"dev:{hashed}\n")
    access = ADDRESSES.replace('# auth_basic "', 'auth_basic "').replace(
        "# auth_basic_user_file /etc/nginx/goproxy/users", f"auth_basic_user_file {users}"
    )
    with nginx(tmp_path / "front", access=access) as front:
        machine = front.machine()
        assert "401" in machine.download(f"{PRIVATE}@v1.0.0")
        assert "needs-credentials" in machine.codes("--module", f"{PRIVATE}@v1.0.0")
        netrc = Path(machine.environment["HOME"]) / ".netrc"
        netrc.write_text(f"machine localhost:{front.port} login dev password secret\n")
        netrc.chmod(0o600)
        assert machine.go("mod", "download", f"{PRIVATE}@v1.0.0").returncode == 0
        assert machine.codes("--module", f"{PRIVATE}@v1.0.0") == []
        assert "AUTHORIZATION" not in front.private.headers[-1]


@pytest.mark.parametrize("name", sorted(path.stem for path in (SHIPPED / "goproxy").iterdir()))
def test_every_shipped_file_is_part_of_the_configuration(name: str) -> None:
    texts = [path.read_text() for path in (SHIPPED / "goproxy.conf", *(SHIPPED / "goproxy").iterdir())]
    assert any(f"include goproxy/{name}.conf;" in text for text in texts)
