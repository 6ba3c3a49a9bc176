"""What a registry may serve: several versions, other content than before, bad zips, bombs, wrong answers."""

import io
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.refs import TagAt
from app.services.checksum import zip_sums
from app.services.ports import ProxyInfo
from app.services.registry import released_at
from app.services.stages.mirror_values import Mirrored
from tests.integration.git_world import nothing
from tests.integration.registry_world import GO_MOD, LIB, Fake, zipped


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_several_versions_are_pushed_at_once(fake: Fake) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        fake.hold({**GO_MOD, "v.txt": version.encode()}, version)
    commits = {version: fake.commit(version) for version in ("v1.0.0", "v1.1.0")}
    outcomes = fake.mirror(*commits.items())
    assert all(isinstance(each, Mirrored) for each in outcomes.values()), outcomes
    refs = fake.world.refs("mirrors/lib")
    assert set(refs) == {"refs/heads/ci-sync", "refs/tags/v1.0.0", "refs/tags/v1.1.0"}
    assert refs["refs/heads/ci-sync"] == commits["v1.1.0"]


def test_a_cache_that_is_gone_is_made_up_for(fake: Fake) -> None:
    fake.hold(GO_MOD)
    commit = fake.commit()
    for each in fake.world.options.cache_dir.glob("*.git"):
        each.rename(fake.world.root / "gone")
    (outcome,) = fake.mirror(("v1.0.0", commit)).values()
    assert isinstance(outcome, Mirrored)
    assert outcome.commit == commit


def test_another_time_alone_is_said_to_be_that(fake: Fake) -> None:
    fake.hold(GO_MOD, time="2026-03-01T12:00:00Z")
    commit = fake.commit()
    for each in fake.world.options.cache_dir.glob("*.git"):
        each.rename(fake.world.root / "gone")
    fake.hold(GO_MOD, time="2026-03-02T12:00:00Z")
    h1 = zip_sums(io.BytesIO(zipped(GO_MOD)), ModulePath.parse(LIB), Version.parse("v1.0.0")).h1_zip
    (outcome,) = fake.mirror(("v1.0.0", commit), known={commit: h1}).values()
    assert isinstance(outcome, SyncError)
    assert outcome.code == "version_moved"
    assert outcome.message.count(h1) == 2
    assert "the zip is the same, the commit alone differs" in outcome.message


def test_a_registry_that_serves_other_content_now_is_a_moved_version(fake: Fake) -> None:
    fake.hold(GO_MOD)
    commit = fake.commit()
    for each in fake.world.options.cache_dir.glob("*.git"):
        each.rename(fake.world.root / "gone")
    fake.hold({**GO_MOD, "new.go": b"package lib\n"})
    (outcome,) = fake.mirror(("v1.0.0", commit), known={commit: "h1:old"}).values()
    assert isinstance(outcome, SyncError)
    new, served = fake.commit(), zipped({**GO_MOD, "new.go": b"package lib\n"})
    h1 = zip_sums(io.BytesIO(served), ModulePath.parse(LIB), Version.parse("v1.0.0")).h1_zip
    assert outcome.code == "version_moved"
    assert outcome.message.endswith(f"was {commit} (h1:old), is {new} ({h1}) now")
    assert outcome.facts["conflict"] == {"old_commit": commit, "old_h1": "h1:old", "new_commit": new, "new_h1": h1}
    assert fake.world.refs("mirrors/lib") == {}


def test_one_bad_version_does_not_hold_up_the_others(fake: Fake) -> None:
    fake.hold(GO_MOD)
    found = fake.stage.tags_at(fake.url, ["v1.0.0", "v1.9.0"], nothing)
    assert isinstance(found["v1.0.0"], TagAt)
    missing = found["v1.9.0"]
    assert isinstance(missing, SyncError)
    assert (missing.code, missing.retryable) == ("not_in_registry", True)


def _symlink() -> ZipInfo:
    info = ZipInfo(f"{LIB}@v1.0.0/link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>not a zip", "not a valid zip"),
        (zipped(GO_MOD, "v1.0.0", ("/etc/passwd", b"x")), "does not start with"),
        (zipped(GO_MOD, "v1.0.0", (f"{LIB}@v1.0.0/../../up", b"x")), "clean"),
        (zipped(GO_MOD, "v1.0.0", (f"{LIB}@v1.0.0/go.mod", b"x")), "twice"),
        (zipped(GO_MOD, "v1.0.0", (_symlink(), b"/etc/passwd")), "symlink"),
        (zipped(GO_MOD, "v1.0.0", (f"{LIB}@v1.0.0/A", b""), (f"{LIB}@v1.0.0/a", b"")), "letter case"),
        (zipped(GO_MOD, "v1.0.1"), "does not start with"),
        (zipped({"go.mod": b"module other.example/x\n"}), "go.mod"),
        (zipped({"go.mod": b"m" * (17 << 20)}), "17825792"),
    ],
    ids=["html", "absolute", "up", "duplicate", "symlink", "case", "version", "other-mod", "go.mod-17-MiB"],
)
def test_what_is_no_module_is_refused_and_nothing_is_made(fake: Fake, content: bytes, said: str) -> None:
    fake.proxy.hold(LIB, ProxyInfo("v1.0.0", None, None), GO_MOD["go.mod"], content)
    error = fake.error()
    assert error.code == "not_a_module"
    assert said in error.message


def test_line_ends_that_no_attribute_of_the_zip_explains_are_not_reproducible(fake: Fake) -> None:
    """A module below a root whose .gitattributes is not in its zip: `go` served both as they are, but no commit gives them."""
    fake.proxy.hold(
        LIB, ProxyInfo("v1.0.0", None, None), GO_MOD["go.mod"],
        zipped({"go.mod": GO_MOD["go.mod"].replace(b"\n", b"\r\n")}),
    )  # fmt: skip
    error = fake.error()
    assert (error.code, error.message.endswith("; not the same: go.mod")) == ("not_reproducible", True)


def test_a_bomb_is_refused_before_it_is_unpacked(fake: Fake) -> None:
    """600 MB of zeros in a few hundred kilobytes."""
    target = io.BytesIO()
    with ZipFile(target, "w", 8) as archive, archive.open(f"{LIB}@v1.0.0/zeros", "w") as big:
        for _ in range(600):
            big.write(bytes(1 << 20))
    fake.proxy.hold(LIB, ProxyInfo("v1.0.0", None, None), GO_MOD["go.mod"], target.getvalue())
    error = fake.error()
    assert (error.code, "larger than" in error.message) == ("not_a_module", True)


def test_names_that_git_cannot_hold_are_not_reproducible(fake: Fake) -> None:
    fake.hold({**GO_MOD, ".git/config": b"[core]\n"})
    error = fake.error()
    assert error.code == "not_reproducible"
    assert error.message.endswith("; not the same: .git/config")


def test_a_registry_that_answers_for_another_version(fake: Fake) -> None:
    fake.proxy.hold(LIB, ProxyInfo("v1.0.1", None, None), b"", b"", version="v1.0.0")
    assert fake.error().code == "registry_wrong"


def test_a_pseudo_version_is_of_another_place(fake: Fake) -> None:
    assert fake.error("v0.0.0-20260301120000-0123456789ab").code == "not_reproducible"


@pytest.mark.parametrize(
    ("code", "becomes"),
    [
        ("proxy_unreachable", "source_unreachable"),
        ("proxy_denied", "source_denied"),
        ("proxy_not_goproxy", "registry_wrong"),
        ("disk_full", "disk_full"),
    ],
)
def test_a_registrys_errors_are_a_sources(fake: Fake, code: str, becomes: str) -> None:
    fake.proxy.fail("info", SyncError(code, "as it is"))
    assert fake.error().code == becomes


def test_a_branch_says_nothing_to_a_registry(fake: Fake) -> None:
    with pytest.raises(SyncError) as caught:
        fake.stage.versions_at(fake.url, "a" * 40, "", nothing)
    assert caught.value.code == "no_version"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:00:00.987654321Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00+00:00"),
        ("1960-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00"),
        ("2020-01-01T1:00:00,5Z", "2020-01-01T01:00:00+00:00"),
        ("2020-01-02T00:00:00+24:00", "2020-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00+08:00", "1970-01-01T00:00:00+00:00"),
        ("0000-06-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59+00:00"),
        (None, "1970-01-01T00:00:00+00:00"),
    ],
)
def test_the_time_of_a_release(time: str | None, expected: str) -> None:
    assert released_at(ProxyInfo("v1.0.0", time, None)).isoformat() == expected


@pytest.mark.parametrize("time", ["yesterday", "2026-03-01T12:00:00", "2026-02-30T12:00:00Z"])
def test_a_time_that_is_none(fake: Fake, time: str) -> None:
    fake.hold(GO_MOD, time=time)
    assert fake.error().code == "registry_wrong"
