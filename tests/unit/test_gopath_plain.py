"""The short look at a file's name says yes only where the rules, looked at one by one, do."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.gopath import check_file_path, is_plain_file_path
from app.domain.modzip import check_clean
from app.domain.rules import RuleBroken

PARTS = [
    *map(chr, (0x17F, 0x212A, 0xE9, 0xDCFF)),
    "a",
    "con",
    "CON",
    "COM1",
    "com0",
    "lpt9x",
    "aux.",
    "nul.go",
    ".",
    "..",
]
PIECES = st.sampled_from([*PARTS, "/", "//", "-", "_", "~1", ":", "'", " ", "\n", ""])
NAMES = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=12))


@settings(max_examples=500, deadline=None)
@given(NAMES)
@example("pkg1/file1.go")
@example("a/")
@example("a\n")
@example("nul\n")
@example("lpt1/x")
def test_plain_names_are_allowed(name: str) -> None:
    if is_plain_file_path(name):
        assert allowed(name)


def test_usual_names_are_plain() -> None:
    names = ["go.mod", "cmd/x/main_test.go", ".github/workflows/ci.yml", "a-b/v1.2/console.go", "LICENSE", "com10.txt"]
    assert all(is_plain_file_path(name) for name in names)
    assert not any(is_plain_file_path(name) for name in ("", "a/../b", "x/con.go", "a.", "a//b", "/a", "a/"))


def allowed(name: str) -> bool:
    try:
        check_clean(name)
        check_file_path(name)
    except RuleBroken:
        return False
    return True
