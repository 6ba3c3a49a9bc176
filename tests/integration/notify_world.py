"""A service that notifies, over a fake receiver, and a clock that tests move."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, select

from app.adapters.notice_store import SqlNoticeStore
from app.domain.notify import Wishes
from app.services.notify import Addressee, Notifying, ReceiverState
from app.services.stores import ReplayOrder
from tests.contract.fake_receiver import FakeReceiver
from tests.integration.stored import Stored

WISHES = Wishes("on-call")
ORDER = ReplayOrder(actor="cli:alice", reason="the runner was down")


class Clock:
    """The stores' clock."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def now(self) -> datetime:
        return self._stored.now

    def chance(self) -> float:
        return 0.5


class World:
    """A service that notifies, over a fake receiver; any number of them may share the database."""

    def __init__(self, stored: Stored, wishes: Wishes = WISHES) -> None:
        self.stored, self.receiver = stored, FakeReceiver()
        addressee = Addressee(wishes, self.receiver, timedelta(hours=24))
        self.service = self.with_addressees({wishes.name: addressee})

    def with_addressees(self, addressees: dict[str, Addressee]) -> Notifying:
        return Notifying(SqlNoticeStore(self.stored.engine), addressees, Clock(self.stored), self.stored.new_id)

    def tick(self, seconds: float = 10.0) -> None:
        """Time passes, and the notifier looks."""
        self.stored.later(seconds)
        self.service.settle()
        while self.service.send_next("on-call"):
            pass

    def told(self) -> list[tuple[str, str, int]]:
        return [(each.event.value, each.code, each.count) for each in self.receiver.taken]

    def state(self) -> ReceiverState:
        (state,) = self.service.states()
        return state


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
