"""go's settings and this machine's files: what a real `go` does with each, and what the doctor says of it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.doctor.goauth import basic
from app.doctor.probe_machine import read_netrc
from tests.integration.doctor_world import MODULE, QUERY, TREE, Machine, needs_namespaces
from tests.sandbox.bad_servers import Authority, Listener, Pages, hanging, module_pages, text, tls_front
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.web_proxies import egress

DATABASE = {"/sumdb/sum.golang.org/supported": text(""), "/sumdb/sum.golang.org/latest": text(TREE)}


@dataclass
class World:
    """`proxy`: a healthy proxy at `url`. `door`: a web proxy that refuses all; `outside` lists what it was asked."""

    root: Path
    proxy: Pages
    url: str
    door: str
    outside: list[str]
    up: ExitStack

    def machine(self, **settings: str) -> Machine:
        return Machine.of(self.root / "machine", **{"GOPROXY": self.url, **settings})

    def behind_door(self, **settings: str) -> Machine:
        return self.machine(**{"HTTPS_PROXY": self.door, "HTTP_PROXY": self.door, **settings})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    outside: list[str] = []
    with ExitStack() as up:
        proxy = Pages({**module_pages(MODULE, "v1.0.0"), **DATABASE})
        url = up.enter_context(LoopbackServer(proxy)).url
        door = up.enter_context(Listener(egress(403, asked=outside))).url
        yield World(tmp_path, proxy, url, door, outside, up)


def down() -> str:
    """The URL of a server that is gone."""
    with Listener(hanging) as gone:
        return gone.url


@pytest.mark.parametrize(
    ("goproxy", "code"),
    [
        ("off", "goproxy-off"),
        (",", "goproxy-empty"),
        ("ftp://a.example/x", "goproxy-invalid"),
        ("company", "goproxy-invalid"),
        ("noproxy", "goproxy-invalid"),
        ("file://srv/modules", "goproxy-invalid"),
        ("https://goproxy.corp.example:PORT", "goproxy-invalid"),
        ("https://[::1", "goproxy-invalid"),
    ],
)
def test_a_goproxy_that_go_refuses(world: World, goproxy: str, code: str) -> None:
    machine = world.behind_door(GOPROXY=goproxy)
    output = machine.download()
    assert code in machine.codes("--module", QUERY)
    assert machine.explained(output) == [code]


@pytest.mark.parametrize("goproxy", ["https://goproxy.corp.example:PORT", "https://127.0.0.1:99999", "https://[::1"])
def test_a_place_that_cannot_be_is_no_end_of_the_doctor(world: World, goproxy: str) -> None:
    machine = world.machine(GOPROXY=goproxy)
    assert re.search(r"invalid port|missing '\]' in host", machine.download())
    for gosumdb in ("off", "sum.golang.org"):
        machine.environment["GOSUMDB"] = gosumdb
        assert "goproxy-invalid" in machine.codes("--module", QUERY)
    status, _ = machine.doctor("proxy", goproxy, "--module", QUERY)
    assert status == 1


@pytest.mark.parametrize("base", ["ftp://x", "https://x:PORT", "https://[::1"])
def test_a_database_that_cannot_be(world: World, base: str) -> None:
    machine = world.machine(GOSUMDB=f"sum.golang.org {base}", GONOSUMDB="")
    assert re.search("invalid GOSUMDB URL|unsupported scheme", machine.download())
    assert machine.codes("--module", QUERY) == ["gosumdb-invalid"]


def test_a_database_without_a_scheme_is_one_by_https(world: World) -> None:
    machine = world.behind_door(GOSUMDB="sum.golang.org sums.invalid", GONOSUMDB="")
    machine.download()
    assert world.outside == ["CONNECT sums.invalid:443 HTTP/1.1"]
    assert "gosumdb-invalid" not in machine.codes("--module", QUERY)
    assert set(world.outside) == {"CONNECT sums.invalid:443 HTTP/1.1"}


def test_a_directory_that_is_not_here(world: World) -> None:
    place = world.root / "modules"
    machine = world.machine(GOPROXY=place.as_uri())
    assert "no such file or directory" in machine.download()
    _, found = machine.doctor("--module", QUERY)
    (finding,) = found["findings"]
    assert finding["code"] == "goproxy-no-directory"
    assert finding["fix"].splitlines()[1].startswith("export GOPROXY=")
    place.mkdir()
    assert machine.codes("--module", QUERY) == []


def test_a_blank_is_part_of_a_pattern(world: World) -> None:
    """go asks the database about a module that somebody thinks private; without the blank it does not."""
    machine = world.behind_door(GONOSUMDB="a.example, go.corp.example", GOSUMDB="sum.golang.org")
    world.proxy.pages.clear()
    world.proxy.pages.update(module_pages(MODULE, "v1.0.0"))
    machine.download()
    assert any("sum.golang.org" in asked for asked in world.outside)
    _, found = machine.doctor("--module", QUERY)
    blank = found["findings"][0]
    assert (blank["code"], blank["fix"]) == ("pattern-blank", "export GONOSUMDB=a.example,go.corp.example")
    machine.environment["GONOSUMDB"] = "a.example,go.corp.example"
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def test_a_byte_that_is_no_text_breaks_no_netrc(world: World) -> None:
    machine = world.machine()
    write_netrc(machine, "")
    path = Path(machine.environment["HOME"]) / ".netrc"
    path.write_bytes(b"# M\xfcnchen\nmachine a.example login dev password gr\xfcn\n")
    assert machine.codes("--module", QUERY) == []
    _, credentials = read_netrc(machine.environment)
    assert basic(credentials["a.example"]) == {"Authorization": "Basic ZGV2Omdy/G4="}


def test_a_bar_hides_that_the_proxy_is_down(world: World) -> None:
    machine = world.machine(GOPROXY=f"{down()}|{world.url}")
    done = machine.go("mod", "download", QUERY)
    assert (done.returncode, done.stderr) == (0, b"")
    assert machine.codes("--module", QUERY) == ["goproxy-hides-errors", "connection-refused"]


def test_direct_behind_the_companys_proxy_tells_names_outside(world: World) -> None:
    machine = world.behind_door(GOPROXY=f"{world.url},direct")
    machine.download(f"{MODULE}@v1.7.0")
    assert world.outside == ["CONNECT go.corp.example:443 HTTP/1.1"]
    assert machine.codes("--module", QUERY) == ["goproxy-direct"]


@needs_namespaces
def test_a_public_proxy_behind_the_companys_is_asked_for_private_names(world: World) -> None:
    authority = Authority(world.root / "ca")
    public = Pages()
    backend = world.up.enter_context(LoopbackServer(public))
    port = world.up.enter_context(Listener(tls_front(authority.issue("proxy.golang.org"), backend.port))).port
    goproxy = f"{world.url},https://proxy.golang.org:{port}"
    machine = world.machine(GOPROXY=goproxy, SSL_CERT_FILE=str(authority.ca_file))
    machine.hosts = "127.0.0.1 proxy.golang.org"
    machine.download(f"{MODULE}@v1.7.0")
    assert f"/{MODULE}/@v/v1.7.0.info" in public.asked
    status, found = machine.doctor("--module", QUERY)
    (leak,) = found["findings"]  # and no dns-hijack: what answers has a certificate of that name
    assert (status, leak["code"]) == (1, "goproxy-leaks-private")
    assert leak["fix"] == f"export GOPROXY={world.url}"


def test_goprivate_bypasses_the_private_proxy(world: World) -> None:
    machine = world.behind_door(GOPRIVATE="go.corp.example", GONOSUMDB="")
    machine.download()
    assert world.proxy.asked == []
    assert world.outside == ["CONNECT go.corp.example:443 HTTP/1.1"]
    assert machine.codes() == ["goprivate-bypass"]
    mended = world.behind_door(GONOSUMDB="go.corp.example")
    assert mended.go("mod", "download", QUERY).returncode == 0
    assert mended.codes() == []


def test_gonoproxy_itself_bypasses_it_too(world: World) -> None:
    machine = world.behind_door(GONOPROXY="go.corp.example")
    machine.download()
    assert (world.proxy.asked, world.outside) == ([], ["CONNECT go.corp.example:443 HTTP/1.1"])
    assert machine.codes() == ["goprivate-bypass"]


@needs_namespaces
def test_a_public_proxy_before_the_companys_is_told_every_name(world: World) -> None:
    public = Pages()
    port = world.up.enter_context(LoopbackServer(public)).port
    machine = world.machine(GOPROXY=f"http://goproxy.cn:{port},{world.url}")
    machine.hosts = "127.0.0.1 goproxy.cn"
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert f"/{MODULE}/@v/v1.0.0.info" in public.asked
    assert "goproxy-leaks-private" in machine.codes("--module", QUERY)


def test_goprivate_with_gonoproxy_none_is_healthy(world: World) -> None:
    machine = world.machine(GOPRIVATE="go.corp.example", GONOPROXY="none", GONOSUMDB="")
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def test_without_gonosumdb_the_database_is_asked_about_private_modules(world: World) -> None:
    machine = world.machine(GONOSUMDB="")
    output = machine.download()
    assert f"/sumdb/sum.golang.org/lookup/{QUERY}" in world.proxy.asked
    assert machine.codes("--private", "go.corp.example") == ["gonosumdb-missing"]
    assert machine.explained(output) == ["gonosumdb-missing"]


def test_gosumdb_off_and_too_wide_patterns_let_anything_in(world: World) -> None:
    world.proxy.pages.update(module_pages("github.com/public/lib", "v1.0.0", source="package changed\n"))
    for settings, code in (({"GOSUMDB": "off"}, "gosumdb-off"), ({"GONOSUMDB": "*"}, "gonosumdb-too-wide")):
        machine = world.machine(**settings)
        assert machine.go("mod", "download", "github.com/public/lib@v1.0.0").returncode == 0
        assert machine.codes("--module", QUERY) == [code]
    assert "verifying" in world.machine().download("github.com/public/lib@v1.0.0")


def test_a_gosumdb_that_go_cannot_read(world: World) -> None:
    machine = world.behind_door(GOSUMDB="sum.corp.example+nokey", GONOSUMDB="")
    output = machine.download()
    assert machine.explained(output) == ["gosumdb-invalid"]
    assert machine.codes("--module", QUERY) == ["gosumdb-invalid"]


def test_goflags_that_change_what_is_downloaded(world: World) -> None:
    machine = world.machine(GOFLAGS="-modcacherw -mod=vendor")
    place = machine.root / "empty"
    place.mkdir(exist_ok=True)
    (place / "go.mod").write_text(f"module a.example/b\n\ngo 1.21\n\nrequire {MODULE} v1.0.0\n")
    (place / "b.go").write_text(f'package b\n\nimport _ "{MODULE}"\n')
    done = machine.go("build", ".")
    assert done.returncode != 0
    assert machine.codes() == ["goflags"]
    assert machine.explained(done.stderr.decode()) == ["vendor-inconsistent"]


def test_goflags_that_go_refuses_stop_every_download(world: World) -> None:
    machine = world.machine(GOFLAGS="bogus")
    output = machine.download()
    assert world.proxy.asked == []
    assert machine.codes("--module", QUERY) == ["goflags"]
    assert machine.explained(output) == ["goflags"]


def test_goinsecure_accepts_a_certificate_of_nobody(world: World) -> None:
    machine = world.behind_door(GOINSECURE="go.corp.example", GOPROXY="direct", GOPRIVATE="go.corp.example")
    machine.download()
    assert [line for line in world.outside if line.startswith("GET http://go.corp.example/")], "go gave up TLS"
    assert "goinsecure" in machine.codes("--module", QUERY)


def test_goauth_off(world: World) -> None:
    authority = Authority(world.root / "ca")
    refusing = world.up.enter_context(LoopbackServer(Pages(other=text("no", status=401))))
    port = world.up.enter_context(Listener(tls_front(authority.issue("localhost"), refusing.port))).port
    machine = world.machine(GOPROXY=f"https://localhost:{port}", SSL_CERT_FILE=str(authority.ca_file), GOAUTH="off")
    write_netrc(machine, f"machine localhost:{port} login dev password good\n")
    assert "401" in machine.download()
    assert machine.codes("--module", QUERY) == ["goauth-off", "needs-credentials"]


def test_a_ca_file_that_is_not_there(world: World) -> None:
    authority = Authority(world.root / "ca")
    backend = world.up.enter_context(LoopbackServer(world.proxy))
    port = world.up.enter_context(Listener(tls_front(authority.issue("localhost"), backend.port))).port
    machine = world.machine(GOPROXY=f"https://localhost:{port}", SSL_CERT_FILE=str(world.root / "gone.pem"))
    output = machine.download()
    assert machine.codes("--module", QUERY) == ["ca-file-unreadable", "tls-unknown-authority"]
    assert machine.explained(output) == ["tls-unknown-authority"]


def test_a_directory_of_links_is_read_as_go_reads_it(world: World) -> None:
    """As Kubernetes mounts a ConfigMap: each name links to one in a directory beside it."""
    authority = Authority(world.root / "ca")
    port = behind_tls(world, authority.issue("localhost"))
    (world.root / "mounted/..data").mkdir(parents=True)
    (world.root / "mounted/..data/ca.crt").write_bytes(authority.ca_file.read_bytes())
    (world.root / "mounted/ca.crt").symlink_to("..data/ca.crt")
    machine = world.machine(GOPROXY=f"https://localhost:{port}", SSL_CERT_DIR=str(world.root / "mounted"))
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []
    (world.root / "mounted/..data/ca.crt").rename(world.root / "mounted/..data/other.crt")
    (world.root / "mounted/ca.crt").unlink()
    (world.root / "mounted/ca.crt").symlink_to("..data")  # to a name beside it, and a directory at that
    machine.download()
    assert machine.codes("--module", QUERY) == ["tls-unknown-authority"]


def test_what_is_trusted_need_not_be_a_root(world: World) -> None:
    certificate = Authority(world.root / "ca").issue("localhost")
    port = behind_tls(world, certificate)
    alone = world.root / "alone.pem"
    alone.write_text(certificate.read_text()[certificate.read_text().index("-----BEGIN CERTIFICATE") :])
    machine = world.machine(GOPROXY=f"https://localhost:{port}", SSL_CERT_FILE=str(alone))
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def behind_tls(world: World, certificate: Path) -> int:
    """The port at which the healthy proxy answers with this certificate."""
    backend = world.up.enter_context(LoopbackServer(world.proxy))
    return world.up.enter_context(Listener(tls_front(certificate, backend.port))).port


def write_netrc(machine: Machine, content: str, mode: int = 0o600) -> None:
    path = Path(machine.environment["HOME"]) / ".netrc"
    path.write_text(content)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("content", "mode", "codes"),
    [
        ("machine a.example login dev password secret\n", 0o600, []),
        ("machine a.example login dev password secret\n", 0o644, ["netrc-permissions"]),
        ("machine a.example login dev\n", 0o600, ["netrc-broken"]),
        ("# machine a.example login dev\n\n", 0o600, []),
        ("default login anonymous password x\n", 0o600, []),
        ("", 0o644, []),
    ],
)
def test_netrc(world: World, content: str, mode: int, codes: list[str]) -> None:
    machine = world.machine()
    write_netrc(machine, content, mode)
    assert machine.codes("--module", QUERY) == codes


def rewriting(to: str, instead_of: str) -> dict[str, str]:
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{to}.insteadOf", "GIT_CONFIG_VALUE_0": instead_of}


def test_git_insteadof_leads_to_a_host_that_does_not_answer(world: World) -> None:
    repositories = Pages(
        {"/misc": text(f'<meta name="go-import" content="{MODULE} git https://git.corp.example/misc">')}
    )
    front = world.up.enter_context(LoopbackServer(repositories)).port
    authority = Authority(world.root / "ca")
    tls = world.up.enter_context(Listener(tls_front(authority.issue("go.corp.example"), front))).port
    door = world.up.enter_context(Listener(egress(to=tls))).url
    settings = {"GOPROXY": "direct", "HTTPS_PROXY": door, "SSL_CERT_FILE": str(authority.ca_file), "GOSUMDB": "off"}
    machine = world.machine(**settings, **rewriting(f"{down()}/", "https://git.corp.example/"))
    assert "127.0.0.1" in machine.download()
    assert machine.codes("--module", MODULE) == ["gosumdb-off", "git-insteadof"]


@pytest.mark.parametrize(
    ("to", "codes"),
    [
        ("ssh://git@127.0.0.1:{port}/", []),
        ("https://127.0.0.1:{port}/", []),
        ("https://dev:secret@127.0.0.1:{port}/", ["git-insteadof"]),
        ("git://127.0.0.1:{port}/", ["git-insteadof"]),
    ],
)
def test_which_rewriting_hurts(world: World, to: str, codes: list[str]) -> None:
    """Only where git may be used at all: here for GONOPROXY's modules."""
    target = to.format(port=world.url.rpartition(":")[2])
    machine = world.machine(GONOPROXY="git.corp.example", **rewriting(target, "https://git.corp.example/"))
    machine.environment["GONOSUMDB"] += ",git.corp.example"
    _, found = machine.doctor("--module", QUERY)
    assert [finding["code"] for finding in found["findings"]] == ["goprivate-bypass", *codes]
    assert "secret" not in str(found)
    machine.environment.update(GONOPROXY="none")
    assert machine.codes("--module", QUERY) == []


def test_without_go_the_environment_and_gos_own_file_count(world: World) -> None:
    machine = world.machine(PATH="/usr/bin:/bin", GOENV="", GOPROXY="")
    settings = Path(machine.environment["HOME"]) / ".config/go/env"
    settings.write_text(f"GOPROXY={world.url}|{world.url}\n")
    assert machine.codes("--module", QUERY) == ["goproxy-hides-errors"]
    machine.environment["GOPROXY"] = world.url
    assert machine.codes("--module", QUERY) == []


def test_the_go_mod_here_says_what_to_ask_for(world: World) -> None:
    machine = world.machine()
    place = machine.root / "empty"
    place.mkdir()
    (place / "go.mod").write_text(f"module a.example/b\n\nrequire (\n\t{MODULE} v1.0.0 // indirect\n)\n")
    assert machine.codes() == []
    assert f"/{MODULE}/@v/v1.0.0.zip" in world.proxy.asked


def test_a_finding_in_full(world: World) -> None:
    machine = world.machine(GOSUMDB="off")
    _, found = machine.doctor("--module", QUERY)
    (finding,) = found["findings"]
    assert finding["fix"].splitlines() == ["export GONOSUMDB=go.corp.example", "unset GOSUMDB"]
    assert finding["docs"] == "docs/doctor.md#gosumdb-off"
    assert finding["seen"] == "GOSUMDB=off"
    assert "GONOSUMDB" in finding["why"]
