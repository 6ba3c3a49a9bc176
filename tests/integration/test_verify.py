"""The verify stage's verdicts: real commits and zips, and a proxy that serves something else."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.modzip import zip_prefix
from app.services.ports import ProxyInfo
from app.services.stages.verify import Earlier
from tests.integration.git_world import SOURCE
from tests.integration.verify_world import MODULE, TAG, VERSION, VerifyWorld, packed, unpacked

PREFIX = zip_prefix(MODULE, VERSION)


@pytest.fixture
def world(tmp_path: Path) -> VerifyWorld:
    return VerifyWorld(tmp_path)


def verdict(world: VerifyWorld, *earlier: Earlier) -> SyncError:
    with pytest.raises(SyncError) as caught:
        world.verify(*earlier)
    return caught.value


def test_what_was_released_is_served(world: VerifyWorld) -> None:
    world.serve()
    facts = world.verify()
    assert facts["h1"] == facts["h1_released"] == world.sums.h1_zip
    assert facts["commit"] == world.commit
    assert facts["compared"] is True


def test_another_compression_is_the_same_module(world: VerifyWorld) -> None:
    """Go's deflate changed with 1.27: only names and contents count, never the zip's own bytes."""
    stored = packed(unpacked(world.zip))
    assert stored != world.zip
    world.serve(stored)
    assert world.verify()["h1"] == world.sums.h1_zip


def test_a_changed_file_is_named_and_both_hashes_are_kept(world: VerifyWorld) -> None:
    world.serve(world.zipped({"lib.go": b"package other\n", "new.go": b"package lib\n"}))
    error = verdict(world)
    assert error.code == "served_other_content"
    assert "changed: lib.go; only in the proxy's: new.go" in error.message
    told = error.facts["verify"]
    assert told["h1_released"] == world.sums.h1_zip
    assert told["h1_served"].startswith("h1:")
    assert told["h1_served"] != told["h1_released"]
    assert told["differ"] == ["lib.go", "new.go"]
    served, released = (f"commit {world.commit} ({told[key]})" for key in ("h1_served", "h1_released"))
    assert f". Served is {served}, released is {released}. To purge it: Athens never fetches" in error.message
    assert error.kind.rejects
    assert told["commit_served"] == told["commit_released"] == world.commit


def test_a_missing_file_is_named(world: VerifyWorld) -> None:
    world.serve(world.zipped({"lib.go": None}))
    assert "only in the release: lib.go" in verdict(world).message


def test_a_proxy_that_packs_raw_blobs_follows_other_rules(world: VerifyWorld) -> None:
    """As GitLab's own: vendored packages, symlinks as text, no attributes, no LICENSE from above."""
    raw = world.raw()
    assert {"vendor/dep.example/d/d.go", "link"} <= raw.keys()
    assert raw["dos.txt"] != unpacked(world.zip)["dos.txt"]
    world.serve(packed(raw))
    error = verdict(world)
    assert (error.code, error.kind.rejects) == (
        "proxy_rules_differ",
        False,
    )  # no release is safe from it: mend the proxy
    assert "changed: dos.txt; only in the proxy's: link, vendor/dep.example/d/d.go; only in the release: LICENSE" in (
        error.message
    )


def test_other_rules_and_other_content_is_other_content(world: VerifyWorld) -> None:
    world.serve(packed(world.raw() | {"lib.go": b"package other\n"}))
    assert verdict(world).code == "served_other_content"


def test_a_source_that_is_gone_does_not_hide_the_verdict(world: VerifyWorld) -> None:
    world.world.repositories.path("team/lib").rename(world.world.root / "elsewhere")
    world.serve(world.zipped({"lib.go": b"package other\n"}))
    error = verdict(world)
    assert error.code == "served_other_content"
    assert "the source could not be read" in error.message


def test_another_commit_is_named(world: VerifyWorld) -> None:
    world.serve(commit="f" * 40)
    error = verdict(world)
    assert error.code == "served_other_commit"
    assert error.kind.rejects
    h1, kept = world.sums.h1_zip, f"all of {MODULE}/{VERSION}"
    assert f". Served is commit {'f' * 40} ({h1}), released is commit {world.commit} ({h1}). To purge" in error.message
    assert kept in error.message
    assert error.facts["verify"] == {
        "verdict": "served_other_commit", "asked": ".info", "h1_released": world.sums.h1_zip, "h1_served": world.sums.h1_zip,
        "commit_released": world.commit, "commit_served": "f" * 40, "differ": [],
    }  # fmt: skip


def test_another_commit_whose_zip_is_not_to_be_had_is_the_same_verdict(world: VerifyWorld) -> None:
    world.serve(commit="f" * 40)
    world.proxy.fail("zip", SyncError("proxy_unreachable", "gone"))
    error = verdict(world)
    assert (error.code, error.facts["verify"]["h1_served"]) == ("served_other_commit", None)
    assert f"Served is commit {'f' * 40} (its zip is not to be had), released is commit {world.commit}" in error.message


def test_a_proxy_that_tells_no_commit_has_an_unknown_one(world: VerifyWorld) -> None:
    """As Artifactory; both sides are named all the same."""
    world.serve(world.zipped({"lib.go": b"package other\n"}))
    world.proxy.held[MODULE.text, VERSION.text].info = ProxyInfo(VERSION.text, None, None)
    error = verdict(world)
    told = error.facts["verify"]
    assert (error.code, told["commit_served"]) == ("served_other_content", None)
    assert (
        f"Served is commit unknown ({told['h1_served']}), released is commit {world.commit} ({world.sums.h1_zip})"
        in (error.message)
    )


def test_another_version_is_named(world: VerifyWorld) -> None:
    world.serve(version="v1.1.1")
    assert verdict(world).code == "served_other_version"


def test_another_go_mod_is_other_content(world: VerifyWorld) -> None:
    world.serve(mod=b"module corp.example/team/lib/sub\n")
    error = verdict(world)
    assert (error.code, "the proxy's .mod" in error.message) == ("served_other_content", True)
    told = error.facts["verify"]
    assert (told["commit_served"], told["h1_served"]) == (world.commit, world.sums.h1_zip)
    assert (told["commit_released"], told["h1_released"]) == (world.commit, world.sums.h1_zip)


def test_the_zips_go_mod_has_to_be_the_mod(world: VerifyWorld) -> None:
    """`go mod download` itself accepts this: only the .mod's hash is in go.sum."""
    world.serve(world.zipped({"go.mod": b"module corp.example/team/lib/sub\n\ngo 1.23\n"}))
    unknown = replace(world.request(), h1=None)
    with pytest.raises(SyncError, match=r"the go.mod in its zip is not its .mod") as caught:
        world.stage.run(unknown, lambda: None)
    assert caught.value.code == "served_other_content"


def test_a_go_mod_that_attributes_change_in_the_zip_is_what_was_released(tmp_path: Path) -> None:
    """`go` takes the .mod as committed, and go.mod in the zip as `git archive` writes it."""
    world = VerifyWorld(tmp_path, {"sub/.gitattributes": "* text eol=crlf\n"})
    assert unpacked(world.zip)["go.mod"] == world.sums.go_mod_bytes.replace(b"\n", b"\r\n")
    world.serve()
    assert world.verify()["h1"] == world.sums.h1_zip
    assert world.stage.run(replace(world.request(), h1=None), lambda: None).facts["verify"]["compared"] is False


@pytest.mark.parametrize(
    "content",
    [
        b"not a zip at all",
        b"PK\x05\x06" + bytes(18),
        packed({"a": b""}, ("/etc/passwd", b"")),
        packed({"a": b""}, (f"{PREFIX}../up", b"")),
        packed({"a": b""}, (f"{PREFIX}a/../../up", b"")),
        packed({"a": b""}, ("corp.example/other@v1.1.0/x", b"")),
        packed({"A": b"", "a": b""}),
        packed({"go.mod": b"m" * ((16 << 20) + 1)}),
    ],
    ids=["text", "empty", "absolute", "up", "up-later", "prefix", "case", "go.mod-17-MiB"],
)
def test_what_is_no_module_zip(world: VerifyWorld, content: bytes) -> None:
    world.serve(content)
    # An empty zip is one for Go, too: it only has other content.
    assert verdict(world).code == ("served_other_content" if content.startswith(b"PK\x05") else "zip_not_a_module")


def test_duplicate_names_are_no_module_zip(world: VerifyWorld) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own, when it writes one
        content = packed(unpacked(world.zip), (f"{PREFIX}lib.go", b"package twice\n"))
    world.serve(content)
    error = verdict(world)
    assert (error.code, "twice" in error.message) == ("zip_not_a_module", True)


def test_a_version_that_is_not_cached_or_not_listed(world: VerifyWorld) -> None:
    assert verdict(world).code == "not_cached_yet"
    world.serve()
    world.proxy.unlisted.add(VERSION.text)
    error = verdict(world)
    assert (error.code, error.retryable) == ("not_listed", True)
    world.proxy.unlisted.clear()
    assert world.verify()["h1"] == world.sums.h1_zip


def test_a_version_that_a_newer_one_retracts_need_not_be_listed(world: VerifyWorld) -> None:
    world.serve()
    world.proxy.unlisted.add(VERSION.text)
    mod = f"module {MODULE}\n\nretract v1.1.0\n".encode()
    world.proxy.hold(MODULE.text, ProxyInfo("v1.2.0", None, None), mod, b"")
    assert world.verify()["h1"] == world.sums.h1_zip


def test_a_latest_that_stays_behind(world: VerifyWorld) -> None:
    world.serve()
    world.proxy.latest_is = ProxyInfo("v1.0.0", None, None)
    error = verdict(world)
    assert (error.code, error.retryable) == ("latest_wrong", True)
    assert "@latest still names v1.0.0" in error.message


def test_a_latest_that_is_nowhere(world: VerifyWorld) -> None:
    world.serve()
    world.proxy.latest_is = ProxyInfo("v1.9.0", None, None)
    error = verdict(world)
    assert (error.code, error.retryable) == ("latest_wrong", True)
    assert "@latest names v1.9.0, which the proxy neither lists nor serves" in error.message
    world.proxy.hold(MODULE.text, ProxyInfo("v1.9.0", None, None), b"module x\n", b"")
    world.proxy.unlisted.add("v1.9.0")  # its list is cached: the version was released meanwhile
    assert "latest" not in world.verify()


def test_what_latest_says_of_others_releases_is_kept_and_fails_nobody(world: VerifyWorld) -> None:
    """v1.5.0 may be retracted, or younger than the proxy's cached answer."""
    world.serve()
    for version in ("v0.1.0", "v1.5.0"):
        world.proxy.hold(MODULE.text, ProxyInfo(version, None, None), b"module x\n", b"")
    world.proxy.latest_is = ProxyInfo("v0.1.0", None, None)
    assert world.verify()["latest"] == "@latest names v0.1.0, list has v1.5.0"
    world.proxy.latest_is = None
    assert "latest" not in world.verify()


def test_after_a_move_the_old_commit_is_told_with_the_steps_to_purge_it(world: VerifyWorld) -> None:
    world.serve(commit="e" * 40)
    error = verdict(world, Earlier("e" * 40, "h1:old"))
    assert error.code == "proxy_holds_old"
    assert "e" * 40 in error.message
    assert world.commit in error.message
    assert f"all of {MODULE}/{VERSION}" in error.message


def test_after_a_move_the_old_content_is_known_by_its_hash(world: VerifyWorld) -> None:
    """The proxy says no commit, as Artifactory."""
    old = world.zipped({"lib.go": b"package old\n"})
    world.serve(old)
    world.proxy.held[MODULE.text, VERSION.text].info = ProxyInfo(VERSION.text, None, None)
    h1 = verdict(world).facts["verify"]["h1_served"]
    assert verdict(world, Earlier("e" * 40, h1)).code == "proxy_holds_old"
    assert verdict(world, Earlier("e" * 40, "h1:another")).code == "served_other_content"


def test_after_a_move_the_old_content_is_known_though_its_hash_was_lost(world: VerifyWorld) -> None:
    """The source still has the old commit: what `go` made of it is made again."""
    world.serve()
    world.proxy.held[MODULE.text, VERSION.text].info = ProxyInfo(VERSION.text, None, None)
    old, h1 = world.commit, world.sums.h1_zip
    world.commit = world.world.repositories.commit(SOURCE, {"sub/lib.go": "package moved\n"}, "Moved")
    world.world.repositories.move_tag(SOURCE, TAG, world.commit)
    request = replace(world.request(Earlier("e" * 40), Earlier(old)), h1="h1:of-the-new")
    with pytest.raises(SyncError) as caught:
        world.stage.run(request, lambda: None)
    assert caught.value.code == "proxy_holds_old"
    assert f"{old} ({h1})" in caught.value.message
