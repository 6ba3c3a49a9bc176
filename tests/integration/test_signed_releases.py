"""A signing policy from the configuration to the run: who signed a tag is recorded, and shown by API, command line and page."""

import io
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from app import create_app
from app.bootstrap import Container
from app.cli_tables import print_run
from app.domain.run import Status
from app.domain.signature import Signature, SigningPolicy, TrustedKeys
from app.services.stages.mirror_values import Signing
from tests.integration.flow_world import FlowWorld
from tests.integration.pages_world import page
from tests.integration.web_world import BEARER, write_settings

GOOD = Signature("good", "ssh", "release@corp.example", "SHA256:mWXOaTg")
BAD = Signature("bad", "ssh", "", "SHA256:unknown", "No principal matched")
SOURCE = """
[[sources]]
name = "signed"
scheme = "github"
allow = ["https://git.corp.example/**"]
secrets = [{ id = "new", env = "HOOK_SECRET" }]
signatures = "require"
ssh_signers_file = "allowed_signers"
"""


class Signed:
    """modsync's web application and a flow on one database; source "platform" has a policy."""

    def __init__(self, directory: Path, policy: SigningPolicy) -> None:
        self.container = Container(write_settings(directory))
        self.world = FlowWorld(directory, self.container.settings.store.url)
        self.world.signing["platform"] = Signing(policy, TrustedKeys())
        self.client = create_app(self.container).test_client()

    def release(self, signature: Signature | None) -> str:
        """A release whose tag is signed like that, brought to its end."""
        if signature:
            self.world.git.signatures[self.world.commit] = signature
        run = self.world.take().run_id
        self.world.settle(run)
        return run

    def printed(self, run: str) -> str:
        """`modsync show`."""
        out = io.StringIO()
        detail = self.container.queries.run(run)
        print_run(Console(file=out, width=200), detail)
        return out.getvalue()


@pytest.mark.parametrize("policy", [SigningPolicy.REQUIRE, SigningPolicy.WARN])
def test_the_signer_is_recorded_and_shown_everywhere(tmp_path: Path, policy: SigningPolicy) -> None:
    signed = Signed(tmp_path, policy)
    run = signed.release(GOOD)
    assert (signed.world.run(run).status, signed.world.run(run).facts["signature"]) == (Status.DONE, asdict(GOOD))
    told = signed.client.get(f"/api/runs/{run}", headers=BEARER).get_json()
    assert told["facts"]["signature"] == asdict(GOOD)
    shown = page(signed.client, f"/runs/{run}").partition("The tag's signature")[2].partition("<h2>")[0]
    for part in ("good", "release@corp.example", "SHA256:mWXOaTg"):
        assert part in shown
    (line,) = [line for line in signed.printed(run).splitlines() if line.strip().startswith("signature")]
    assert line.split() == ["signature", "good", "ssh", "release@corp.example", "SHA256:mWXOaTg"]


@pytest.mark.parametrize(("signature", "code"), [(BAD, "signature_bad"), (None, "tag_unsigned")])
def test_what_no_known_key_signed_is_rejected_and_what_was_found_is_shown(
    tmp_path: Path, signature: Signature | None, code: str
) -> None:
    signed = Signed(tmp_path, SigningPolicy.REQUIRE)
    run = signed.release(signature)
    assert (signed.world.run(run).status, signed.world.run(run).error) == (Status.REJECTED, code)
    assert signed.world.mirror.refs == {}
    why = signature.why if signature else "the tag is not signed"
    told = signed.client.get(f"/api/runs/{run}", headers=BEARER).get_json()
    assert told["facts"]["signature"]["why"] == why
    assert why in signed.printed(run)
    assert why in page(signed.client, f"/runs/{run}").partition("The tag's signature")[2]


def test_warn_lets_through_what_no_known_key_signed_and_shows_it(tmp_path: Path) -> None:
    signed = Signed(tmp_path, SigningPolicy.WARN)
    run = signed.release(BAD)
    assert (signed.world.run(run).status, signed.world.run(run).facts["signature"]) == (Status.DONE, asdict(BAD))
    assert BAD.why in page(signed.client, f"/runs/{run}")


def test_off_records_nothing(tmp_path: Path) -> None:
    signed = Signed(tmp_path, SigningPolicy.OFF)
    run = signed.release(GOOD)
    assert "signature" not in signed.world.run(run).facts
    assert "The tag's signature" not in page(signed.client, f"/runs/{run}")


def test_each_source_has_the_policy_and_the_keys_of_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "allowed_signers").write_text("")
    container = Container(write_settings(tmp_path, more=SOURCE))
    found = container.signing["signed"]
    assert found.policy is SigningPolicy.REQUIRE
    assert found.trust.ssh_signers is not None
    assert Path(found.trust.ssh_signers).name == "allowed_signers"
    assert {each.policy for name, each in container.signing.items() if name != "signed"} == {SigningPolicy.OFF}
    assert container.flow._turn._stage._signing is container.signing
