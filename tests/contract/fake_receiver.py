"""A receiver that is no server: keeps the notices, and answers as it is told."""

from datetime import datetime

from app.domain.errors import SyncError
from app.domain.notice_forms import Notice


class FakeReceiver:
    """See app.services.notify.Receiver. `errors` are raised one after the other, then everything is taken."""

    def __init__(self) -> None:
        self.taken: list[Notice] = []
        self.tried: list[str] = []
        self.errors: list[SyncError] = []

    def send(self, notice: Notice, now: datetime) -> str:
        """Take it, or say why not."""
        self.tried.append(notice.id)
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append(notice)
        return "HTTP 200 OK: ok"

    def answer(self, status: int, retry_after: float | None = None) -> None:
        """The next message is answered so; 0: nobody answers."""
        code = {0: "receiver_unreachable", 410: "receiver_gone"}.get(status, "receiver_refused")
        told = f"127.0.0.1 answered HTTP {status}" if status else "127.0.0.1: Connection refused"
        self.errors.append(SyncError(code, told, retry_after=retry_after))
