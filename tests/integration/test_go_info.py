"""A `.info` read by a real `go` and by modsync: both take it, or both refuse it."""

import json
from collections.abc import Iterator
from pathlib import Path

from app.domain.goinfo import InfoRefused, parse_rev_info
from tests.integration.doctor_world import MODULE, Machine
from tests.sandbox.bad_servers import Pages, module_pages
from tests.sandbox.serve import LoopbackServer


def timed(time: str) -> bytes:
    return f'{{"Version":"VERSION","Time":{time}}}'.encode()


def more(rest: str) -> bytes:
    return f'{{"Version":"VERSION",{rest}}}'.encode()


PLAIN = b'{"Version":"VERSION"}'
# Named as the check of `modsync doctor proxy` that each one fails.
REFUSED: dict[str, bytes] = {
    "time empty": timed('""'),
    "time a date": timed('"2026-01-02"'),
    "time with a blank": timed('"2026-01-02 03:04:05+00:00"'),
    "time without a zone": timed('"2026-01-02T03:04:05"'),
    "time a number": timed("0"),
    "time false": timed("false"),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "time with a small t": timed('"2026-01-02t01:04:05Z"'),
    "time with a small z": timed('"2026-01-02T01:04:05z"'),
    "time with a zone of four digits": timed('"2026-01-02T01:04:05+0100"'),
    "time of February 30": timed('"2026-02-30T01:04:05Z"'),
    "time with a leap second": timed('"2026-01-02T01:04:60Z"'),
    "time at 24:00": timed('"2026-01-02T24:00:00Z"'),
    "time far to the east": timed('"2026-01-02T01:04:05+25:00"'),
    "time by weeks": timed('"2026-W01-2T01:04:05Z"'),
    "time without hyphens": timed('"20260102T010405Z"'),
    "time under another name": more('"TIME":""'),
    "time twice": more('"Time":"","Time":"2026-01-02T15:04:05Z"'),
    "version a number": b'{"Version":1}',
    "origin a list": more('"Origin":[]'),
    "origin with a hash that is none": more('"Origin":{"Hash":5}'),
    "origin with a ref that is none": more('"origin":{"ref":5}'),
    "NaN": more('"X":NaN'),
    "infinity": more('"X":-Infinity'),
    "a tab in a string": more('"X":"a\tb"'),
    "two objects": PLAIN + b"{}",
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "a comma too many": b'{"Version":"VERSION",}',
    "a no-break space": "\u00a0".encode() + PLAIN,
    "an empty body": b"",
    "a list": b"[]",
}
TAKEN: dict[str, bytes] = {
    "plain": PLAIN,
    "time": timed('"2026-01-02T15:04:05Z"'),
    "time null": timed("null"),
    "time with a fraction": timed('"2026-01-02T15:04:05.123456789012+05:30"'),
    "time with a comma": timed('"2026-01-02T01:04:05,5Z"'),
    "time with one digit of the hour": timed('"2026-01-02T1:04:05Z"'),
    "time a day to the east": timed('"2026-01-02T01:04:05+24:00"'),
    "time of the year 0": timed('"0000-02-29T01:04:05Z"'),
    "small letters": b'{"version":"VERSION"}',
    "the long s": '{"Ver\u017fion":"VERSION"}'.encode(),
    "twice, the last one counts": b'{"Version":"v9.9.9","version":"VERSION"}',
    "null does not count": more('"Version":null'),
    "origin null": more('"Origin":null'),
    "hash null": more('"Origin":{"Hash":null,"Foo":5}'),
    "what go does not read": more('"Name":5,"Short":[]'),
    "bytes that are no text": b'{"Version":"VERSION","X":"\xff"}',
    "half a surrogate": more('"X":"\\ud800"'),
    "a long number": more(f'"X":{"9" * 5000}'),
}


def test_both_take_or_refuse_it(tmp_path: Path) -> None:
    names = {f"v1.{at}.0": name for at, name in enumerate(REFUSED | TAKEN)}
    pages, bodies = Pages(), {v: of_version((REFUSED | TAKEN)[name], v) for v, name in names.items()}
    for version, body in bodies.items():
        pages.pages |= module_pages(MODULE, version) | {f"/{MODULE}/@v/{version}.info": (200, {}, body)}
    with LoopbackServer(pages) as proxy:
        machine = Machine.of(tmp_path / "machine", GOPROXY=proxy.url)
        told = machine.go("mod", "download", "-json", *(f"{MODULE}@{version}" for version in names)).stdout.decode()
    refused = {
        names[each["Version"]] for each in objects(told) if "invalid response from proxy" in each.get("Error", "")
    }
    assert refused == set(REFUSED)
    assert {name for version, name in names.items() if not takes(bodies[version], version)} == refused


def of_version(body: bytes, version: str) -> bytes:
    if body.startswith(b"\xff\xfe"):
        return body.decode("utf-16").replace("VERSION", version).encode("utf-16")
    return body.replace(b"VERSION", version.encode())


def takes(body: bytes, version: str) -> bool:
    try:
        return parse_rev_info(body).version == version
    except InfoRefused:
        return False


def objects(text: str) -> Iterator[dict[str, str]]:
    decoder, rest = json.JSONDecoder(), text.lstrip()
    while rest:
        value, end = decoder.raw_decode(rest)
        yield value
        rest = rest[end:].lstrip()
