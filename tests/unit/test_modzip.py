"""Which files go into a module zip, h1, and zips that others made: good, hostile and huge."""

import io
import struct
import zipfile
from collections.abc import Callable
from typing import BinaryIO

import pytest

from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.modzip import (
    MAX_GO_MOD,
    MAX_LICENSE,
    MAX_ZIP,
    Entry,
    FileHash,
    Kind,
    hash1,
    hash_go_mod,
    is_vendored,
    select_files,
)
from app.services.checksum import ModuleSums, zip_sums
from app.services.module_zip import ZipSink

MODULE, VERSION, PREFIX = ModulePath.parse("a.b/c"), Version.parse("v1.0.0"), "a.b/c@v1.0.0/"


def files(*names: str, kind: Kind = Kind.FILE) -> list[Entry]:
    return [Entry(name, kind, 1) for name in names]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("vendor/modules.txt", False, True),
        ("vendor/x.go", False, False),
        ("vendor/x/y.go", True, True),
        ("pkg/vendor/x.go", True, False),
        ("p/vendor/x.go", True, False),
        ("longer/vendor/x/y.go", True, True),
        ("p/vendor/x/y.go", True, True),
        ("xvendor/x/y.go", False, False),
    ],
)
def test_vendor_rules(name: str, old: bool, new: bool) -> None:
    assert (is_vendored(name, strict=False), is_vendored(name, strict=True)) == (old, new)


@pytest.mark.parametrize(
    ("go_line", "kept"),
    [
        ("1.23", True),
        ("1.23.9", True),
        ("1.24", False),
        ("1.24rc1", False),
        ("1.24.1", False),
        ("1.25.0", False),
        ("2.0", False),
        ("1.24.1rc1", True),
        ("1", True),
        ("1.100", False),
    ],
)
def test_go_line_decides_about_vendor(go_line: str, kept: bool) -> None:
    chosen = select_files(files("go.mod", "vendor/modules.txt"), f"module a.b/c\ngo {go_line}\n".encode())
    assert ("vendor/modules.txt" in chosen) == kept


def test_left_out() -> None:
    entries = files(
        "go.mod", "a.go", ".hg_archival.txt", "sub/.hg_archival.txt", "nested/GO.MOD", "nested/a:b", "vendor/x/a:b"
    )
    entries += [
        Entry("link", Kind.SYMLINK, 1),
        Entry("other", Kind.OTHER, 0),
        Entry("dir/go.mod", Kind.SYMLINK, 1),
        Entry("dir/a.go", Kind.FILE, 1),
    ]
    assert select_files(entries, b"module a.b/c\n") == ["go.mod", "a.go", "sub/.hg_archival.txt", "dir/a.go"]


@pytest.mark.parametrize(
    ("entries", "rule"),
    [
        (files("GO.MOD"), "zip_go_mod_case"),
        (files("a.go", "A.go"), "zip_collision"),
        (files("dir/a.go", "DIR/b.go"), "zip_collision"),
        (files("x", "x/y"), "zip_collision"),
        (files("k", "\u212a"), "zip_collision"),
        (files("a", "a"), "zip_duplicate"),
        (files("a:b", kind=Kind.SYMLINK), "file_char"),
        (files("A.go") + files("a.go", kind=Kind.SYMLINK), "zip_collision"),
        (files("../x"), "zip_unclean"),
        (files("/x"), "zip_unclean"),
        ([Entry("go.mod", Kind.FILE, MAX_GO_MOD + 1)], "zip_go_mod_size"),
        ([Entry("LICENSE", Kind.FILE, MAX_LICENSE + 1)], "zip_license_size"),
        ([Entry("a", Kind.FILE, MAX_ZIP), Entry("b", Kind.FILE, 1)], "zip_too_large"),
    ],
)
def test_refused(entries: list[Entry], rule: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        select_files(entries, None)
    assert caught.value.rule == rule


def test_ss_and_sharp_s_do_not_collide() -> None:
    assert select_files(files("ß", "ss", "ı", "i"), None) == ["ß", "ss", "ı", "i"]


def test_message_names_five_at_most() -> None:
    with pytest.raises(RuleBroken) as caught:
        select_files(files(*(f"{number}:" for number in range(9))), None)
    assert caught.value.message.count("malformed") == 5


def test_h1() -> None:
    # recorded: the line of rsc.io/quote v1.5.2/go.mod in the public go.sum files
    quote = b'module "rsc.io/quote"\n\nrequire "rsc.io/sampler" v1.3.0\n'
    assert hash_go_mod(quote) == "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0="
    one, two = FileHash("a", "00" * 32), FileHash("b", "11" * 32)
    assert hash1([one, two], PREFIX) == hash1([two, one], PREFIX) != hash1([one, two])


def packed(build: Callable[[zipfile.ZipFile], None]) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        build(archive)
    return target


def zip_of(*pairs: tuple[str, bytes]) -> io.BytesIO:
    def write(archive: zipfile.ZipFile) -> None:
        for name, data in pairs:
            archive.writestr(name, data)

    return packed(write)


def sums(file: BinaryIO) -> ModuleSums:
    return zip_sums(file, MODULE, VERSION)


def refusal(file: BinaryIO) -> str:
    with pytest.raises(RuleBroken) as caught:
        sums(file)
    return caught.value.rule


def test_good_zip() -> None:
    found = sums(zip_of((PREFIX + "go.mod", b"module a.b/c\n"), (PREFIX + "é.go", b"x" * 5_000_000)))
    assert [file.name for file in found.files] == ["go.mod", "é.go"]
    assert found.go_mod_bytes == b"module a.b/c\n"
    assert found.go_sum[1] == f"a.b/c v1.0.0/go.mod {hash_go_mod(found.go_mod_bytes)}"


def test_zip_without_go_mod_gets_the_synthesised_one() -> None:
    assert sums(zip_of((PREFIX + "a.go", b""))).go_mod_bytes == b"module a.b/c\n"


def test_sink_and_reader_agree_and_bytes_repeat() -> None:
    def write() -> io.BytesIO:
        target = io.BytesIO()
        with ZipSink(target, PREFIX) as sink:
            sink.add("a.go", 3, io.BytesIO(b"abc"))
            sink.add_bytes("LICENSE", b"free")
        return target

    assert write().getvalue() == write().getvalue()
    assert [file.name for file in sums(write()).files] == ["a.go", "LICENSE"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a.b/c@v1.0.1/x", "zip_prefix"),
        ("/etc/passwd", "zip_prefix"),
        ("../x", "zip_prefix"),
        (PREFIX + "../x", "zip_unclean"),
        (PREFIX + "/etc", "zip_unclean"),
        (PREFIX + "a/./b", "zip_unclean"),
        (PREFIX + "a:b", "file_char"),
        (PREFIX + "a\\b", "file_char"),
        (PREFIX + "sub/go.mod", "zip_nested_go_mod"),
        (PREFIX + "GO.mod", "zip_go_mod_case"),
        (PREFIX + "con", "file_windows_name"),
        (PREFIX + "x//", "zip_unclean"),
    ],
)
def test_hostile_names(name: str, rule: str) -> None:
    assert refusal(zip_of((name, b""))) == rule


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (("a", "a"), "zip_duplicate"),
        (("a", "A"), "zip_collision"),
        (("a", "a/b"), "zip_collision"),
        (("d/", "d/"), "zip_duplicate"),
        (("d/", "D/x"), "zip_collision"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_clash(names: tuple[str, str], rule: str) -> None:
    assert refusal(zip_of(*((PREFIX + name, b"") for name in names))) == rule


def test_symlink_entry() -> None:
    info = zipfile.ZipInfo(PREFIX + "link")
    info.external_attr = 0o120777 << 16
    assert refusal(packed(lambda archive: archive.writestr(info, b"/etc/passwd"))) == "zip_symlink"


def test_nul_in_a_name_does_not_hide_the_rest() -> None:
    assert refusal(io.BytesIO(zip_of((PREFIX + "axb", b"")).getvalue().replace(b"axb", b"a\0b"))) in (
        "file_char",
        "zip_bad",
    )


def test_unmarked_utf8_names_are_read_as_go_does() -> None:
    marked = zip_of((PREFIX + "é", b"")).getvalue()
    unmarked = bytearray(marked)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = marked.index(signature) + flags
        unmarked[place : place + 2] = struct.pack("<H", 0)
    assert sums(io.BytesIO(bytes(unmarked))).h1_zip == sums(io.BytesIO(marked)).h1_zip


def test_not_a_zip() -> None:
    assert refusal(io.BytesIO(b"<html>login</html>")) == "zip_bad"


def test_bomb_is_not_unpacked() -> None:
    bomb = bytearray(zip_of((PREFIX + "a", b"\0" * 10_000_000)).getvalue())
    directory = bomb.index(b"PK\x01\x02")
    bomb[directory + 24 : directory + 28] = struct.pack("<I", 1000)
    assert refusal(io.BytesIO(bytes(bomb))) == "zip_bad"
    bomb[directory + 24 : directory + 28] = struct.pack("<I", MAX_ZIP + 1)
    assert refusal(io.BytesIO(bytes(bomb))) == "zip_too_large"


def test_declared_larger_than_real() -> None:
    short = bytearray(zip_of((PREFIX + "a", b"abc")).getvalue())
    directory = short.index(b"PK\x01\x02")
    short[directory + 24 : directory + 28] = struct.pack("<I", 4)
    assert refusal(io.BytesIO(bytes(short))) == "zip_bad"


def test_damaged_content() -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(PREFIX + "a", b"content")
    assert refusal(io.BytesIO(stored.getvalue().replace(b"content", b"CONTENT"))) == "zip_bad"


@pytest.mark.parametrize(("name", "limit"), [("go.mod", MAX_GO_MOD), ("LICENSE", MAX_LICENSE)])
def test_large_go_mod_and_license(name: str, limit: int) -> None:
    assert refusal(zip_of((PREFIX + name, b"\n" * (limit + 1)))) in ("zip_go_mod_size", "zip_license_size")


def test_module_and_version_must_suit() -> None:
    with pytest.raises(RuleBroken) as caught:
        zip_sums(io.BytesIO(), ModulePath.parse("a.b/c/v2"), VERSION)
    assert caught.value.rule == "version_major"
