"""Signed tags with real keys: ssh-keygen and gpg make them, git verifies them through the door, the policy decides."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.git_signature import keyring
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.signature import Signature, SigningPolicy, TrustedKeys
from app.services.stages.mirror import Mirrored, MirrorRequest, MirrorStage, Release, Signing
from tests.contract.fake_gitlab import FakeGitLab
from tests.integration.flow_world import NO_REGISTRIES
from tests.integration.git_world import SOURCE, World, nothing
from tests.integration.signing_keys import Keys

MODULE = ModulePath.parse("corp.example/lib")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    made = Keys(tmp_path_factory.mktemp("keys"))
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.repositories.make_repository("mirrors/lib")
    return world


def commit_of(world: World, text: str = "1") -> str:
    return world.repositories.commit(SOURCE, {"go.mod": f"module {MODULE}\n", "v.txt": text}, text)


def mirrored(
    world: World, trust: TrustedKeys, commit: str, tag: str = "v1.0.0", policy: str = "require", *, make: bool = False
) -> Mirrored | SyncError:
    """The mirror stage's outcome for one release of source "platform"."""
    stage = MirrorStage(
        world.door(), FakeGitLab(url=f"file://{world.root}/served"), lambda *_: "h1:", NO_REGISTRIES,
        {"platform": Signing(SigningPolicy(policy), trust)},
    )  # fmt: skip
    release = Release("r", MODULE, Version.parse(tag), commit, "", make_tag=make, source="platform")
    request = MirrorRequest(world.file_url(SOURCE), "mirrors/lib", "ci-sync", (release,))
    return stage.run(request, nothing, nothing).outcomes["r"]


def signature(outcome: Mirrored | SyncError) -> Signature:
    assert isinstance(outcome, Mirrored), outcome
    assert outcome.signature is not None
    return outcome.signature


def refused(outcome: Mirrored | SyncError) -> tuple[str, str]:
    assert isinstance(outcome, SyncError), outcome
    assert outcome.kind.rejects
    return outcome.code, outcome.message


def test_a_tag_that_a_known_ssh_key_signed(world: World, keys: Keys) -> None:
    commit = commit_of(world)
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, "release")
    found = signature(mirrored(world, keys.trust, commit))
    assert (found.state, found.kind, found.signer) == ("good", "ssh", "release@corp.example")
    assert found.key.startswith("SHA256:")
    assert "refs/tags/v1.0.0" in world.refs("mirrors/lib")


def test_a_tag_that_a_known_gpg_key_signed(world: World, keys: Keys) -> None:
    commit = commit_of(world)
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, "gpg")
    found = signature(mirrored(world, keys.trust, commit))
    assert found == Signature("good", "gpg", "Release Manager <r@corp.example>", keys.fingerprint)


@pytest.mark.parametrize(
    ("with_", "trust", "why"),
    [
        ("stranger", "both", "No principal matched"),
        ("release", "gpg", ""),
        ("gpg", "ssh", "not a configured one"),
        ("gpg", "none", "not a configured one"),
    ],
)
def test_a_key_that_is_not_configured_is_no_good(world: World, keys: Keys, with_: str, trust: str, why: str) -> None:
    known = {
        "both": keys.trust,
        "ssh": TrustedKeys(ssh_signers=str(keys.signers)),
        "gpg": TrustedKeys(gpg_keys=str(keys.gpg_keys)),
        "none": TrustedKeys(),
    }
    commit = commit_of(world)
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, with_)
    code, message = refused(mirrored(world, known[trust], commit))
    assert (code, why in message) == ("signature_bad", True)
    assert world.refs("mirrors/lib") == {}


@pytest.mark.parametrize(("dated", "code"), [("2026-01-01T00:00:00Z", "signature_bad"), ("2020-01-01T00:00:00Z", None)])
def test_valid_before_is_compared_with_the_date_that_the_signer_writes(
    world: World, keys: Keys, dated: str, code: str | None
) -> None:
    """So it revokes nothing; the documents say so (git's gpg.ssh.revocationFile would)."""
    commit = commit_of(world)
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, "release", GIT_COMMITTER_DATE=dated)
    line = keys.signers.read_text().replace(" namespaces", ' valid-before="20240101",namespaces')
    signers = world.root / "signers"
    signers.write_text(line)
    outcome = mirrored(world, TrustedKeys(ssh_signers=str(signers)), commit)
    assert (outcome.code if isinstance(outcome, SyncError) else None) == code
    signers.write_text(line.replace("release@", "# release@"))
    assert refused(mirrored(world, TrustedKeys(ssh_signers=str(signers)), commit, "v1.0.0"))[0] == "signature_bad"


@pytest.mark.parametrize(("how", "said"), [("expired", "EXPKEYSIG"), ("revoked", "REVKEYSIG")])
def test_a_gpg_key_that_ended_is_no_good_for_older_tags_either(
    world: World, tmp_path: Path, how: str, said: str
) -> None:
    (tmp_path / "own").mkdir()
    own = Keys(tmp_path / "own")
    try:
        own.old_gpg_key()
        commit = commit_of(world)
        own.sign(world.repositories.path(SOURCE), "v1.0.0", commit, "gpg")
        trust = own.end_gpg_key(how)
        code, message = refused(mirrored(world, trust, commit))
        assert (code, said in message) == ("signature_bad", True), message
    finally:
        own.close()


@pytest.mark.parametrize("with_", ["release", "gpg"])
def test_a_signed_tag_of_another_version_put_at_this_one(world: World, keys: Keys, with_: str) -> None:
    """It verifies wherever it is."""
    commit = commit_of(world)
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, with_)
    world.git(SOURCE, "update-ref", "refs/tags/v1.9.9", world.git(SOURCE, "rev-parse", "refs/tags/v1.0.0"))
    code, message = refused(mirrored(world, keys.trust, commit, "v1.9.9"))
    assert (code, "calls itself 'v1.0.0', not 'v1.9.9'" in message) == ("signature_bad", True)


def test_a_signed_tag_of_a_tag_is_not_of_the_commit(world: World, keys: Keys) -> None:
    commit = commit_of(world)
    inner = world.repositories.tag(SOURCE, "v0.9.0", commit, annotated=True)
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", inner, "release")
    code, message = refused(mirrored(world, keys.trust, commit))
    assert (code, "is of tag" in message) == ("signature_bad", True)


@pytest.mark.parametrize("with_", ["release", "gpg"])
def test_a_changed_tag_object(world: World, keys: Keys, with_: str) -> None:
    commit, other = commit_of(world), commit_of(world, "2")
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, with_)
    raw = world.git(SOURCE, "cat-file", "tag", "v1.0.0") + "\n"
    forged = world.git(SOURCE, "hash-object", "-t", "tag", "-w", "--stdin", stdin=raw.replace(commit, other).encode())
    world.git(SOURCE, "update-ref", "refs/tags/v1.0.0", forged)
    assert refused(mirrored(world, keys.trust, other))[0] == "signature_bad"


@pytest.mark.parametrize("kind", ["lightweight", "annotated", "made"])
def test_tags_without_a_signature(world: World, keys: Keys, kind: str) -> None:
    commit = commit_of(world)
    if kind != "made":
        world.repositories.tag(SOURCE, "v1.0.0", commit, annotated=kind == "annotated")
    outcome = mirrored(world, keys.trust, commit, make=kind == "made")
    assert refused(outcome)[0] == "tag_unsigned"
    assert world.refs("mirrors/lib") == {}


@pytest.mark.parametrize(("with_", "state"), [("stranger", "bad"), ("release", "good"), ("", "unsigned")])
def test_warn_looks_and_lets_through(world: World, keys: Keys, with_: str, state: str) -> None:
    commit = commit_of(world)
    if with_:
        keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, with_)
    else:
        world.repositories.tag(SOURCE, "v1.0.0", commit)
    found = signature(mirrored(world, keys.trust, commit, policy="warn"))
    assert (found.state, bool(found.why)) == (state, state != "good")
    assert "refs/tags/v1.0.0" in world.refs("mirrors/lib")


def test_off_does_not_look(world: World, keys: Keys) -> None:
    commit = commit_of(world)
    keys.sign(world.repositories.path(SOURCE), "v1.0.0", commit, "stranger")
    outcome = mirrored(world, keys.trust, commit, policy="off")
    assert isinstance(outcome, Mirrored)
    assert outcome.signature is None


def test_keys_in_any_form(keys: Keys) -> None:
    armoured = keys.gpg_keys.read_bytes()
    binary = keyring(armoured)
    assert keyring(binary) == binary
    assert keyring(armoured + b"\nsome text\n" + armoured.replace(b"\n", b"\r\n")) == binary + binary
    for bad in (b"", b"no keys", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n%%%\n-----END PGP PUBLIC KEY BLOCK-----\n"):
        with pytest.raises(ValueError, match=r"key"):
            keyring(bad)
