"""The demo's story, act by act. Each act does its part for real and checks it; what is not so ends the demo."""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from tests.sandbox.demo.screen import Screen, progress
from tests.sandbox.modules import PROGRAM, Ledger, Release
from tests.sandbox.service import Service
from tests.sandbox.webhook import Delivered
from tests.sandbox.world import MIRRORS, PROJECT, World

REPOSITORY = "payments/ledger"
MIRROR = f"{MIRRORS}/{REPOSITORY}"


class StoryError(Exception):
    """Something that the story tells did not happen."""


class Story:
    """Plays the acts in order; `runs` are the runs that the table at the end shows."""

    def __init__(self, world: World, service: Service, screen: Screen) -> None:
        self.world, self.service, self.screen = world, service, screen
        self.ledger: Ledger = world.ledger()
        self.client = world.go_client()
        self.sent: dict[str, Delivered] = {}
        self.runs: list[str] = []

    def play(self) -> None:
        """All acts. Raises StoryError, or whatever broke."""
        for act in (
            self.releases,
            self.again,
            self.forged,
            self.moved,
            self.outage,
            self.bytes_as_released,
            self.build,
        ):
            act()

    def releases(self) -> None:
        """Three releases arrive, one nested and one /v2, and become downloadable."""
        self.screen.chapter("Three releases arrive: signed webhooks from the module platform")
        for release in self.ledger.trio:
            delivered = self._send(release)
            self._check(delivered.status == 202, f"{release.query} was answered {delivered.status}: {delivered.text}")
            run = self._run_of(delivered)
            self.screen.tell(f"202  {release.query}  → run {run}")
            self.sent[release.query], self.runs = delivered, [*self.runs, run]
        self._wait(self.runs, "done")
        for release in self.ledger.trio:
            found = self.client.download(release.query)
            self._check("Error" not in found, f"go mod download {release.query}: {found.get('Error')}")
            self.screen.fact(f"go mod download {release.query}  {found['Sum']}")

    def again(self) -> None:
        """The same delivery again changes nothing."""
        self.screen.chapter("The same delivery once more")
        before = self._everything()
        release = self.ledger.trio[0]
        again = self.sent[release.query].resend()
        self._check(
            again.status == 200 and again.json["runs"][0]["duplicate"], f"answered {again.status}: {again.text}"
        )
        self._check(self._run_of(again) == self.runs[0], "a duplicate must name the same run")
        self._check(self._everything() == before, "a duplicate must change nothing")
        self.screen.fact("200, the same run, duplicate: true; no ref, no pipeline, no run is new")

    def forged(self) -> None:
        """A forged delivery is refused."""
        self.screen.chapter("Somebody forges a delivery")
        before = self._everything()
        forged = self._send(self.ledger.trio[0], forge=True)
        self._check(forged.status == 401, f"a forged delivery was answered {forged.status}")
        self._check(self._everything() == before, "a forged delivery must leave nothing behind")
        self.screen.fact("401, nothing recorded")

    def moved(self) -> None:
        """A moved tag is rejected."""
        self.screen.chapter("Somebody moves the tag of a released version")
        release = self.ledger.trio[0]
        commit = self.world.platform.commit(REPOSITORY, {"evil.go": "package ledger\n"}, "Not what was released")
        self.world.platform.move_tag(REPOSITORY, release.tag, commit)
        before = self.world.gitlab.refs(MIRROR)
        delivered = self._send(release, commit_id=commit)
        run = self.service.run(self._run_of(delivered))
        self._check(run["status"] == "rejected", f"the run is {run['status']}")
        self._check(run["error"]["code"] == "version_moved", f"the code is {run['error']['code']}")
        self._check(self.world.gitlab.refs(MIRROR) == before, "the mirror must not change")
        self.world.platform.move_tag(REPOSITORY, release.tag, release.commit)
        self.screen.fact(
            f"rejected, version_moved: {release.commit[:12]} stays, {commit[:12]} is refused; the mirror is unchanged"
        )
        self.screen.tell(run["error"]["advice"])

    def outage(self) -> None:
        """The proxy goes down, a release fails, and is replayed by job id when it is back."""
        self.screen.chapter("The private proxy goes down while a version is released")
        self.world.proxy.stop()
        release = self.ledger.root.release("v1.3.0", {"balance.go": _BALANCE})
        run_id = self._run_of(self._send(release))
        self.runs.append(run_id)
        run = self._wait([run_id], "failed")[0]
        self.screen.fact(f"{release.query} failed in stage {run['stage']}: {run['error']['code']}")
        self.screen.tell(run["error"]["advice"])
        self.world.proxy.start()
        job = run["attempts"][-1]["jobs"][-1]
        self.screen.tell(f"The proxy is back. $ modsync replay {job} --reason 'the proxy is back'")
        self._modsync("replay", job, "--reason", "the proxy is back")
        run = self._wait([run_id], "done")[0]
        self.screen.fact(f"done in attempt {run['attempt']}, asked for by {run['attempts'][-1]['actor']}")

    def bytes_as_released(self) -> None:
        """A real `go mod download` through the proxy gets the released bytes."""
        self.screen.chapter("Are these the released bytes?")
        release = self.ledger.root.releases["v1.3.0"]
        found = self.client.download(release.query)
        self._check("Error" not in found, f"go mod download: {found.get('Error')}")
        lines = self._modsync(
            "checksum", release.query, "--repo", str(self.world.platform.path(REPOSITORY))
        ).splitlines()
        run = self.service.run(self.runs[-1])
        self._check(lines[0].split()[-1] == found["Sum"], f"go has {found['Sum']}, the source {lines[0]}")
        self._check(run["facts"]["verify"]["h1"] == found["Sum"], "the run must have recorded the same h1")
        files = self._same_as_git(Path(found["Zip"]), release)
        self.screen.fact(
            f"{files} files in go's zip are byte for byte those of commit {release.commit[:12]} at the source"
        )
        self.screen.fact("go's own h1, the source's and the one modsync recorded are the same:")
        for line in lines:
            self.screen.tell(f"  {line}")

    def build(self) -> None:
        """A Go program that needs three releases builds through the proxy alone."""
        self.screen.chapter("A Go developer builds a program that needs all three")
        built = self.client.build(PROGRAM)
        self._check(built.returncode == 0, built.stderr.decode(errors="replace"))
        ran = self.client.run_program()
        self._check(ran.returncode == 0, ran.stderr.decode(errors="replace"))
        output = (ran.stdout + ran.stderr).decode().strip()
        self.screen.fact(f"go build, then run: {output}")

    # --- tools --------------------------------------------------------------------------------------------------

    def _send(self, release: Release, *, forge: bool = False, **fields: Any) -> Delivered:
        url = f"{self.world.url}/webhooks/platform"
        return self.world.platform.webhook(url, self.world.secret, release, forge=forge, **fields)

    def _run_of(self, delivered: Delivered) -> str:
        try:
            return str(delivered.json["runs"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise StoryError(f"no run in the answer {delivered.status}: {delivered.text}") from None

    def _wait(self, ids: Sequence[str], status: str) -> list[dict[str, Any]]:
        """The runs' details when all have ended, drawn meanwhile; StoryError when one has not ended as it should."""
        runs: list[dict[str, Any]] = []
        with self.screen.live() as live:

            def ended() -> bool:
                runs[:] = [self.service.run(each) for each in ids]
                live.update(progress(runs))
                return all(run["status"] in ("done", "failed", "rejected") for run in runs)

            self.service.until(ended, f"the runs {', '.join(ids)} to end", 90)
        self.screen.console.print(progress(runs))
        wrong = [f"{run['id']} is {run['status']}: {run['error']}" for run in runs if run["status"] != status]
        self._check(not wrong, "\n".join(wrong) + "\n" + self.service.log_tails())
        return runs

    def _everything(self) -> tuple[object, ...]:
        """What a delivery that changes nothing must leave as it is."""
        answer = requests.get(f"{self.world.url}/api/runs?limit=200", headers=self.service.authorization, timeout=10)
        runs = [(run["id"], run["status"], run["attempt"]) for run in answer.json()["runs"]]
        pipelines = [each.id for each in self.world.gitlab.pipelines(MIRROR)]
        return runs, self.world.gitlab.refs(MIRROR), pipelines

    def _modsync(self, *arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("modsync")), *arguments]
        environment = self.service.environment
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        self._check(done.returncode == 0, f"modsync {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def _same_as_git(self, archive: Path, release: Release) -> int:
        repository = self.world.platform.path(REPOSITORY)
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                blob = f"{release.commit}:{name.removeprefix(f'{release.query}/')}"
                git = subprocess.run(
                    ["git", "-C", repository, "cat-file", "blob", blob], capture_output=True, check=True
                )
                self._check(git.stdout == opened.read(name), f"{name} differs from {blob}")
            return len(opened.namelist())

    def _check(self, truth: bool, otherwise: str) -> None:
        if not truth:
            raise StoryError(otherwise)


_BALANCE = """\
package ledger

// Balance is what v1.3.0 brings.
func Balance() int { return 42 }
"""
