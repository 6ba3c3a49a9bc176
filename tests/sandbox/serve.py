"""A threaded HTTP/1.1 server on 127.0.0.1 for any WSGI application of the sandbox.

The port is chosen and reserved when the server is made, and stays reserved while the server is stopped: callers can
write its URL into a configuration first, and a stopped server refuses connections until it is started again.
"""

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from wsgiref.types import WSGIApplication

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

_BACKLOG = 256
_POLL_SECONDS = 0.02
_DRAIN_SECONDS = 5.0


class _QuietHandler(WSGIRequestHandler):
    """Speaks HTTP/1.1 (chunked bodies both ways) and logs nothing: the sandbox's applications record what they see."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        return None


class _Server(ThreadedWSGIServer):
    """Knows its open connections, so that stopping can cut them as a dying process would."""

    def __init__(self, application: WSGIApplication, listener: socket.socket) -> None:
        self._connections: set[Any] = set()
        self._changed = threading.Condition()
        host, port = listener.getsockname()
        super().__init__(host, port, application, _QuietHandler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def cut_connections(self) -> None:
        with self._changed:
            for connection in self._connections:
                _cut(connection)

    def wait_until_idle(self) -> None:
        """Give the applications up to 5 s to notice that their connections are cut."""
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, _DRAIN_SECONDS)


class LoopbackServer:
    """Serves a WSGI application on 127.0.0.1; `port` 0 takes a free one.

    A context manager: entering starts, leaving closes. `start()` raises OSError when a given port is taken. Request
    bodies arrive as sent: chunked framing is undone (`wsgi.input_terminated` is set then), gzip is not. `on_cut` is
    called in each stop, when clients are cut off and requests may still be at work: end that work there.
    """

    def __init__(self, wsgi_app: WSGIApplication, port: int = 0, *, on_cut: Callable[[], None] | None = None) -> None:
        self._application = wsgi_app
        self._on_cut = on_cut
        self._reserved: socket.socket | None = _bound(port)
        self.port: int = self._reserved.getsockname()[1]
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL without a final slash; valid before the start and while stopped, too."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._server is not None

    def start(self) -> None:
        """Listen and serve from a background thread; nothing happens when it already does."""
        if self._server is not None:
            return
        self._reserved = self._reserved or _bound(self.port)
        with _bound(self.port) as listener:
            listener.listen(_BACKLOG)
            self._server = _Server(self._application, listener)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name=f"loopback-{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on and cut the open ones; the port stays ours, so `start()` works again."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None or thread is None:
            return
        server.shutdown()
        thread.join()
        server.cut_connections()
        if self._on_cut is not None:
            self._on_cut()
        server.wait_until_idle()

    def close(self) -> None:
        """Stop for good and give the port back."""
        self.stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _bound(port: int) -> socket.socket:
    """A socket bound to 127.0.0.1:`port` that does not listen: it holds the port, and connecting is refused."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


def _cut(connection: Any) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster
