"""Zips that zipfile itself would choke on, or read otherwise than Go: always a verdict, and one way to read them."""

import io
import struct
import time
import zipfile
import zlib
from hashlib import sha1
from pathlib import Path
from typing import BinaryIO

import pytest

from app.domain.modules import RuleBroken
from app.services import module_zip
from app.services.blobs import blob_ids, contents
from tests.unit.test_modzip import PREFIX, refusal, sums, zip_of


def with_zip64(offset: int) -> bytes:
    """A zip with one entry whose local header is said to be at `offset`, in a zip64 extra field."""
    data = bytearray(zip_of((PREFIX + "a.go", b"package a\n")).getvalue())
    central, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    name = struct.unpack_from("<H", data, central + 28)[0]
    struct.pack_into("<H", data, central + 30, 12)
    struct.pack_into("<I", data, central + 42, 0xFFFFFFFF)
    struct.pack_into("<I", data, end + 12, struct.unpack_from("<I", data, end + 12)[0] + 12)
    place = central + 46 + name
    return bytes(data[:place] + struct.pack("<HHQ", 1, 8, offset) + data[place:])


@pytest.mark.parametrize("offset", [1 << 20, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("on_disk", [False, True])
def test_offsets_that_no_file_has(tmp_path: Path, offset: int, on_disk: bool) -> None:
    data = with_zip64(offset)
    (tmp_path / "m.zip").write_bytes(data)
    with (tmp_path / "m.zip").open("rb") if on_disk else io.BytesIO(data) as file:
        assert refusal(file) == "zip_bad"


def test_an_offset_that_is_right_is_read(tmp_path: Path) -> None:
    assert [file.name for file in sums(io.BytesIO(with_zip64(0))).files] == ["a.go"]


def packed_behind_its_end(size: int) -> io.BytesIO:
    """An entry whose packed bytes go on behind the end of the deflate stream."""
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = raw.compress(b"hello") + raw.flush()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(PREFIX + "a", packed + bytes(size))
    data = bytearray(zipped.getvalue())
    for place, method in ((data.index(b"PK\x03\x04"), 8), (data.index(b"PK\x01\x02"), 10)):
        struct.pack_into("<H", data, place + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<II", data, place + method + 6, zlib.crc32(b"hello"), len(packed) + size)
        struct.pack_into("<I", data, place + method + 14, 5)
    return io.BytesIO(bytes(data))


def test_what_is_packed_behind_the_end_is_not_read() -> None:
    """As in go. To feed it to zlib would copy all of it for each piece: minutes, for a few hundred megabytes."""
    began = time.process_time()
    assert [file.name for file in sums(packed_behind_its_end(60 << 20)).files] == ["a"]
    assert time.process_time() - began < 20


def test_a_directory_with_content() -> None:
    """archive/zip: ErrFormat, as soon as it is opened."""
    data = bytearray(zip_of((PREFIX + "a", b"package a\n"), (PREFIX + "dx", b"hello")).getvalue())
    assert refusal(io.BytesIO(bytes(data).replace(b"/dx", b"/d/"))) == "zip_bad"


def test_without_a_crc_none_is_checked() -> None:
    """archive/zip: 0 stands for none, where no data descriptor has one."""
    data = bytearray(zip_of((PREFIX + "a.go", b"package a\n")).getvalue())
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        struct.pack_into("<I", data, data.index(mark) + place, 0)
    assert [file.name for file in sums(io.BytesIO(bytes(data))).files] == ["a.go"]


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("size", [0, 1, 46, 1 << 31, (1 << 32) - 2])
def test_a_directory_that_is_not_where_it_says(tmp_path: Path, size: int, on_disk: bool) -> None:
    data = bytearray(zip_of((PREFIX + "a.go", b"")).getvalue())
    end = data.index(b"PK\x05\x06")
    struct.pack_into("<II", data, end + 12, size, size)
    (tmp_path / "m.zip").write_bytes(data)
    with (tmp_path / "m.zip").open("rb") if on_disk else io.BytesIO(data) as file:
        assert refusal(file) in ("zip_bad", "zip_too_large")


def test_a_directory_of_which_only_the_end_is_told() -> None:
    """Go would see both files, zipfile the second alone."""
    data = bytearray(zip_of((PREFIX + "a.go", b""), (PREFIX + "b.go", b"")).getvalue())
    end = data.index(b"PK\x05\x06")
    size = struct.unpack_from("<I", data, end + 12)[0]
    struct.pack_into("<I", data, end + 12, size // 2)
    assert len(zipfile.ZipFile(io.BytesIO(data)).namelist()) == 1
    assert refusal(io.BytesIO(data)) == "zip_bad"


def renamed_locally() -> bytes:
    """The local header has another name than the directory: Go looks at the directory alone."""
    data = bytearray(zip_of((PREFIX + "a.go", b"package a\n"), (PREFIX + "dir/", b"")).getvalue())
    place = data.index(b"a.go")
    data[place : place + 4] = b"b.go"
    return bytes(data)


def overlapping() -> bytes:
    """Two entries with the same bytes: a later zipfile refuses to open the first."""
    data = bytearray(zip_of((PREFIX + "a.go", b"package a\n"), (PREFIX + "b.go", b"package a\n")).getvalue())
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", data, second + 42, 0)
    return bytes(data)


@pytest.mark.parametrize("data", [renamed_locally(), overlapping()], ids=["local-name", "overlap"])
def test_what_was_found_good_can_be_read(data: bytes) -> None:
    names = [file.name for file in sums(io.BytesIO(data)).files if not file.name.endswith("/")]
    read = {name: content.read() for name, content in contents(io.BytesIO(data), PREFIX)}
    assert read == dict.fromkeys(names, b"package a\n")
    blob = sha1(b"blob 10\0package a\n", usedforsecurity=False).hexdigest()
    assert blob_ids(io.BytesIO(data), PREFIX, names) == dict.fromkeys(names, blob)


def test_contents_are_read_in_any_pieces() -> None:
    big = bytes(range(256)) * 20_000
    for _, content in contents(zip_of((PREFIX + "a", big)), PREFIX):
        assert b"".join(iter(lambda: content.read(7_777), b"")) == big  # noqa: B023


def test_very_many_entries_are_not_even_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty ones cost 46 bytes each in the file, and a kilobyte in memory."""
    listed: list[BinaryIO] = []
    monkeypatch.setattr(zipfile.ZipInfo, "__init__", lambda *_: listed.append(io.BytesIO()))
    entry = struct.pack("<4s24xHHH12x", b"PK\x01\x02", 0, 0, 0)
    count = module_zip.MAX_ENTRIES + 1
    end = struct.pack("<4s8xIIH", b"PK\x05\x06", len(entry) * count, 0, 0)
    with pytest.raises(RuleBroken, match="more than 200000 entries") as caught:
        module_zip.check_zip(io.BytesIO(entry * count + end), PREFIX)
    assert (caught.value.rule, listed) == ("zip_too_large", [])


def test_a_very_large_directory_is_not_even_read() -> None:
    size = module_zip.MAX_DIRECTORY + 1
    end = struct.pack("<4s8xIIH", b"PK\x05\x06", size, 0, 0)
    with pytest.raises(RuleBroken, match="at most 67108864 are read") as caught:
        module_zip.check_zip(io.BytesIO(bytes(size) + end), PREFIX)
    assert caught.value.rule == "zip_too_large"


@pytest.mark.parametrize("name", [b"\xff.go", b"a/\xc3(", b"\xed\xa0\x80.go", b"\xc0\xaf.go"])
@pytest.mark.parametrize("marked", [True, False])
def test_names_that_are_no_utf8(name: bytes, marked: bool) -> None:
    data = no_utf8(name, marked=marked)
    assert refusal(io.BytesIO(data)) == ("zip_bad" if marked else "file_utf8")


def no_utf8(name: bytes, *, marked: bool, prefix: str = PREFIX) -> bytes:
    """A zip with an entry of that name, which says that it is UTF-8 or says nothing."""
    plain = "x" * len(name)
    data = bytearray(zip_of((prefix + plain, b"")).getvalue().replace(plain.encode(), name))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(signature) + flags, 0x800 if marked else 0)
    return bytes(data)
