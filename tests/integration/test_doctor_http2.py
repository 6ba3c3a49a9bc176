"""HTTP/2 that is broken off: a real `go` fails on it, and the doctor's own mend helps."""

import re
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from tests.integration.doctor_world import QUERY
from tests.integration.test_doctor_network import network
from tests.sandbox.bad_servers import Handler, tls_front

_PREFACE = 24
_SETTINGS, _HEADERS, _GOAWAY = 4, 1, 7


def going_away(pem: Path, backend: int) -> Handler:
    """HTTP/2 ends with the first request (RFC 9113, 6.8); HTTP/1.1 is served from the port `backend`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2"])
    plain = tls_front(pem, backend)

    def handle(connection: socket.socket, stopping: Event) -> None:
        if b"\x02h2" not in connection.recv(65536, socket.MSG_PEEK):
            plain(connection, stopping)
            return
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            _read(secure, _PREFACE)
            secure.sendall(_frame(_SETTINGS, b""))
            stream = _stream_of_request(secure)
            secure.sendall(_frame(_GOAWAY, stream.to_bytes(4, "big") + bytes(4)))

    return handle


def _frame(kind: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, 0)) + bytes(4) + content


def _stream_of_request(secure: ssl.SSLSocket) -> int:
    while True:
        head = _read(secure, 9)
        _read(secure, int.from_bytes(head[:3], "big"))
        if head[3] == _HEADERS:
            return int.from_bytes(head[5:], "big")


def _read(secure: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = secure.recv(size - len(data))
        if not chunk:
            raise OSError("closed")
        data += chunk
    return data


@pytest.mark.parametrize("mended", [False, True])
def test_http2_that_goes_away(tmp_path: Path, mended: bool) -> None:
    with network(tmp_path) as world:
        port = world.listen(going_away(world.authority.issue("localhost"), world.port)).port
        machine = world.machine(f"https://localhost:{port}")
        output = machine.download()
        assert "http2: server sent GOAWAY and closed the connection" in output
        _, found = machine.doctor("explain", stdin=output)
        assert [finding["code"] for finding in found["findings"]] == ["http2-broken"]
        name, value = re.findall(r"export (\w+)=(\S+)", found["findings"][0]["fix"])[0]
        machine.environment[name] = value if mended else ""
        assert (machine.go("mod", "download", QUERY).returncode == 0) is mended
