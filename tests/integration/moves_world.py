"""A released version whose tag was moved at the source, and orders to accept that."""

import hashlib
from pathlib import Path

from app.adapters.move_store import SqlMoveStore
from app.domain.run import Run, Stage, Status
from app.services.moves import AcceptMove, MoveOrder
from app.services.planning import Placed
from app.services.stores import Receipt, ReplayOrder
from tests.integration.flow_world import MODULE, FlowWorld

VERSION = "v1.0.0"


def h1(commit: str) -> str:
    """As FlowWorld hashes."""
    return "h1:" + hashlib.sha256(commit.encode()).hexdigest()


class Moving:
    """A world whose v1.0.0 was released at `old` and whose source tag was then moved to `new`; `begun` False: nothing yet."""

    def __init__(self, directory: Path, *, begun: bool = True, url: str = "") -> None:
        self.world = FlowWorld(directory, url)
        self.old, self.first = self.world.commit, self.world.take().run_id if begun else ""
        self.store = SqlMoveStore(self.world.engine)
        self.moves = AcceptMove(
            self.store, self.world.queue, self.world.clock, lambda run: Placed(run.path, run.target), self._new_id
        )
        self._made = 0

    def released_then_moved(self) -> None:
        self.world.settle(self.first)
        assert self.world.run(self.first).status is Status.DONE
        self.move()

    def move(self) -> None:
        self.new = self.world.source.commit({"moved.go": b""})
        self.world.source.tag(VERSION, self.new)

    def replayed(self) -> None:
        """The first run goes again from its first stage, to its end."""
        order = ReplayOrder("cli:me", "", Stage.MIRROR, force=True)
        self.world.replays.replay(self.first, order, None, self.world.clock.now())
        self.world.settle(self.first)

    def accept(self, commit: str = "", reason: str = "wrong branch") -> Receipt:
        return self.moves.accept(MoveOrder.parse(MODULE, VERSION, commit or self.new, "cli:me", reason))

    def run(self, run_id: str) -> Run:
        return self.world.run(run_id)

    def _new_id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._made + 500:019d}"
