"""Damaged zips: always a verdict with a rule, never another error; and never another content than before."""

import io
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import zip_sums

MODULE, VERSION = ModulePath.parse("a.b/c"), Version.parse("v1.0.0")


def good_zip() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.b/c@v1.0.0/go.mod", b"module a.b/c\n")
        archive.writestr("a.b/c@v1.0.0/a.go", b"package a\n" * 50)
        archive.writestr(zipfile.ZipInfo("a.b/c@v1.0.0/stored"), b"x" * 40)
    return target.getvalue()


GOOD = good_zip()
EDITS = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(EDITS, st.integers(0, len(GOOD)), st.binary(max_size=30))
def test_damaged(edits: list[tuple[int, int]], cut: int, tail: bytes) -> None:
    edited = bytearray(GOOD)
    for place, value in edits:
        edited[place] = value
    for data in (bytes(edited), bytes(edited[:cut]) + tail, bytes(edited[cut:]), bytes(edited) + tail):
        verdict(data)


def verdict(data: bytes) -> None:
    try:
        sums = zip_sums(io.BytesIO(data), MODULE, VERSION)
    except RuleBroken as broken:
        assert broken.rule  # noqa: PT017 - both ways out are right
        return
    assert sums.go_mod_bytes in (b"module a.b/c\n", b"module a.b/c\n")
    assert {file.sha256 for file in sums.files} <= {
        file.sha256 for file in zip_sums(io.BytesIO(GOOD), MODULE, VERSION).files
    }
