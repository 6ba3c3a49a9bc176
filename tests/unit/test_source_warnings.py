"""Submodules and Git LFS in a released tree, as warnings."""

from __future__ import annotations

import pytest

from app.domain.source_warnings import source_warnings

MODULES = b'[submodule "third/party"]\n\tpath = third/party\n\turl = https://elsewhere.example/x.git\n'
LFS = b"# big things\n*.bin filter=lfs diff=lfs merge=lfs -text\ndata/** filter=lfs\n"


def codes(gitmodules: bytes | None, *gitattributes: bytes | None) -> list[str]:
    places = dict(zip(["", *"abc"], gitattributes, strict=False))
    return [each.code for each in source_warnings(gitmodules, {place: data for place, data in places.items() if data})]


def test_a_plain_tree_has_none() -> None:
    assert codes(None, None, b"*.go text eol=lf\n*.x -filter\n") == []


def test_submodules_are_named() -> None:
    assert codes(MODULES) == ["submodules"]
    assert "third/party" in source_warnings(MODULES, {})[0].message


def test_lfs_patterns_are_named_with_their_places() -> None:
    found = source_warnings(None, {"": LFS, "assets/deep": b"/*.iso filter=lfs\n*.iso filter=lfs\n"})
    assert [each.code for each in found] == ["lfs"]
    assert found[0].message.endswith(": *.bin, data/**, assets/deep/*.iso")


def test_many_and_hostile_names_stay_short_and_printable() -> None:
    many = b"".join(b'[submodule "\x1b[31m%03d%s"]\n' % (n, b"x" * 100) for n in range(50))
    message = source_warnings(many, {})[0].message
    assert len(message) < 600
    assert message.isprintable()
    assert "and 45 more" in message


def test_a_pattern_is_on_one_line() -> None:
    assert source_warnings(None, {"": b"plain\n*.bin filter=lfs\n"})[0].message.endswith(": *.bin")


def test_a_megabyte_of_nothing_is_read_once() -> None:
    """Not once for each of its lines, for hours."""
    nothing = b"\n" * (1 << 20)
    assert codes(None, nothing + b"*.bin filter=lfs") == ["lfs"]
    assert codes(nothing + MODULES) == ["submodules"]


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[submodule]"])
def test_a_file_that_cannot_be_read_still_says_that_it_is_there(data: bytes) -> None:
    assert codes(data) == ["submodules"]
