"""Subject, issuer and validity of a certificate (DER): the ssl module tells them of trusted ones only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from app.doctor.observed import Certificate

_NAMES = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O"}
_UTC_TIME = 0x17
_VERSION = 0xA0
_LONG = 0x80


def read_certificate(der: bytes) -> Certificate | None:
    """None when the bytes cannot be read as a certificate."""
    try:
        certificate = next(_items(der))[1]
        fields = [item for item in _items(next(_items(certificate))[1]) if item[0] != _VERSION]
        _, _, (_, issuer), (_, validity), (_, subject) = fields[:5]
        begin, end = (_time(*item) for item in _items(validity))
        return Certificate(_name(subject), _name(issuer), begin, end)
    except (ValueError, IndexError, StopIteration):
        return None


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of each element."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size >= _LONG:
            octets = size - _LONG
            size, at = int.from_bytes(data[at : at + octets], "big"), at + octets
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + size]
        at += size


def _name(data: bytes) -> str:
    """`CN=..., O=...` of a distinguished name."""
    known = {}
    for _, group in _items(data):
        for _, pair in _items(group):
            (_, kind), (_, value) = list(_items(pair))[:2]
            if kind in _NAMES:
                known[_NAMES[kind]] = value.decode(errors="replace")
    return ", ".join(f"{name}={known[name]}" for name in ("CN", "O") if name in known)


def _time(tag: int, data: bytes) -> datetime:
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(data.decode(), form).replace(tzinfo=UTC)
