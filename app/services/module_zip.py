"""Reading a module zip that somebody else made, and writing one (golang.org/x/mod/zip/zip.go CheckZip, Create)."""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from collections.abc import Iterator
from hashlib import sha256
from io import BufferedReader, RawIOBase
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from app.domain.gopath import check_file_path
from app.domain.modules import RuleBroken
from app.domain.modzip import MAX_ZIP, Collisions, FileHash, check_clean, check_size

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20
_LOCAL_HEADER = 30  # bytes before the name
_ENCRYPTED = 0x1
_DESCRIPTOR = 0x8
_UTF8 = 0x800
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ENTRY = b"PK\x01\x02"
_TOLD, _COUNTED = 4, 1 << 16  # where the end record's number of entries is, and what it is modulo
MAX_ENTRIES = 200_000
MAX_DIRECTORY = 64 << 20  # bytes


class Readable(Protocol):
    """A content to pack."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; empty at the end."""
        ...


def check_zip(file: BinaryIO, prefix: str) -> tuple[tuple[FileHash, ...], bytes | None]:
    """Every entry with its hash, names without `prefix`, and the content of go.mod (None without one).

    Directory entries end in `/`; like Go's, h1 counts them as empty files.

    RuleBroken `zip_bad`, `zip_prefix`, `zip_unclean`, `zip_collision`, `zip_duplicate`, `zip_symlink`, `zip_nested_go_mod`,
    `zip_go_mod_case`, `zip_go_mod_size`, `zip_license_size`, `zip_too_large`, `file_*`.
    """
    if file.seek(0, 2) > MAX_ZIP:
        raise RuleBroken("zip_too_large", f"the zip is larger than {MAX_ZIP} bytes")
    infos = directory(file)
    names = [_checked_name(info, prefix) for info in infos]
    _check_together(infos, names)
    hashes, go_mod = [], None
    for info, name in zip(infos, names, strict=True):
        digest, kept = _digest(file, info, keep=name == "go.mod")
        hashes.append(FileHash(name, digest))
        go_mod = kept if name == "go.mod" else go_mod
    return tuple(hashes), go_mod


class ZipSink:
    """Writes a module zip: the same names and contents give the same bytes with the same zlib."""

    def __init__(self, target: BinaryIO, prefix: str) -> None:
        self._zip = ZipFile(target, "w", ZIP_DEFLATED)
        self._prefix = prefix

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def add(self, name: str, size: int, content: Readable) -> None:
        """Pack `size` bytes of `content`."""
        with self._zip.open(self._info(name, size), "w") as packed:
            while chunk := content.read(_CHUNK):
                packed.write(chunk)

    def add_bytes(self, name: str, data: bytes) -> None:
        """Pack `data`."""
        self._zip.writestr(self._info(name, len(data)), data)

    def _info(self, name: str, size: int) -> ZipInfo:
        info = ZipInfo(self._prefix + name, _EPOCH)
        info.compress_type, info.create_system, info.file_size = ZIP_DEFLATED, 3, size
        info.external_attr = (stat.S_IFREG | 0o644) << 16
        return info


class _Unpacked(RawIOBase):
    """The chunks of an entry as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._left:
            found = next(self._chunks, None)
            if found is None:
                return 0
            self._left = found
        view = memoryview(buffer)
        size = min(len(view), len(self._left))
        view[:size], self._left = self._left[:size], self._left[size:]
        return size


def opened(file: BinaryIO, info: ZipInfo) -> BinaryIO:
    """The content of an entry that check_zip found good; whoever reads leaves `file` alone meanwhile.

    Not ZipFile.open: it refuses what Go and check_zip take (a local header with another name, entries that overlap).
    """
    return BufferedReader(_Unpacked(_content(file, info)), _CHUNK)


class _Bounded:
    """What zipfile reads a directory from: it takes any number of entries, each a thousand times as large as in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1, /) -> bytes:
        """As the file's; RuleBroken `zip_too_large` for a directory that is too large."""
        if size > MAX_DIRECTORY:
            raise RuleBroken("zip_too_large", f"the zip's directory has {size} bytes; at most {MAX_DIRECTORY} are read")
        data = self._file.read(size)
        if data.count(_ENTRY) > MAX_ENTRIES:
            raise RuleBroken("zip_too_large", f"the zip has more than {MAX_ENTRIES} entries")
        return data


def directory(file: BinaryIO) -> list[ZipInfo]:
    """Every entry as the zip's directory has it. RuleBroken `zip_bad`, `zip_too_large`."""
    try:
        with ZipFile(cast(BinaryIO, _Bounded(file))) as archive:
            found = archive.infolist()
        told = zipfile._EndRecData(file)[_TOLD]  # type: ignore[attr-defined]
    except RuleBroken:
        raise
    except (BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        # ValueError covers names that are not UTF-8 though the zip says so, and offsets outside the file
        raise RuleBroken("zip_bad", f"not a valid zip: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's start
            raise
        raise RuleBroken("zip_bad", "not a valid zip: its directory is not where it says") from None
    if (len(found) - told) % _COUNTED:  # zipfile goes by the directory's size, Go by this: nobody may see fewer
        raise RuleBroken("zip_bad", f"not a valid zip: its directory has {len(found)} entries, and says {told}")
    return found


def _checked_name(info: ZipInfo, prefix: str) -> str:
    """The entry's name below the prefix, a directory's with its `/`."""
    raw = raw_name(info)
    name = raw.removeprefix(prefix)
    if name == raw:
        raise RuleBroken("zip_prefix", f"the zip's {raw!r} does not start with {prefix!r}")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise RuleBroken("zip_symlink", f"the zip's {raw!r} is a symlink")
    plain = name.removesuffix("/")
    if plain:
        check_clean(plain)
        check_file_path(plain)
    return name


def raw_name(info: ZipInfo) -> str:
    """The name's own bytes as UTF-8, as Go reads them: ZipFile cuts names at a NUL and takes unmarked ones for code page 437."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    return info.orig_filename.encode("cp437").decode(errors="surrogateescape")


def _check_together(infos: list[ZipInfo], names: list[str]) -> None:
    """Collisions, misplaced go.mod files, and all sizes as declared, before anything is unpacked."""
    seen = Collisions()
    for info, name in zip(infos, names, strict=True):
        seen.add(name.removesuffix("/"), is_dir=name.endswith("/"))
        check_size(name, info.file_size)
        base = name.rpartition("/")[2]
        if base.lower() == "go.mod" and name != "go.mod":
            rule = "zip_nested_go_mod" if name != base else "zip_go_mod_case"
            raise RuleBroken(rule, f"the zip's {name!r} is not the module's own go.mod")
    if len(set(names)) < len(names):
        raise RuleBroken("zip_duplicate", "the zip has a directory entry twice")
    if sum(info.file_size for info in infos) > MAX_ZIP:
        raise RuleBroken("zip_too_large", f"the zip's content is larger than {MAX_ZIP} bytes")
    if sum(info.compress_size for info in infos) > MAX_ZIP:  # more than the file: entries that share their place
        raise RuleBroken("zip_too_large", f"the zip's entries are packed in more than {MAX_ZIP} bytes")


def _digest(file: BinaryIO, info: ZipInfo, *, keep: bool) -> tuple[str, bytes]:
    """sha256 in hex and, if asked for, the content; exactly the declared bytes with the declared CRC must come out."""
    digest, crc, size, kept = sha256(), 0, 0, bytearray()
    if info.orig_filename.endswith("/"):
        if info.file_size:
            raise RuleBroken("zip_bad", f"the zip's {info.orig_filename!r} is a directory with content")
        return digest.hexdigest(), b""
    for chunk in _content(file, info):
        digest.update(chunk)
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        if keep:
            kept += chunk
        if size > info.file_size:
            break
    # archive/zip of go: without a data descriptor a CRC of 0 is none.
    checked = info.CRC != 0 or bool(info.flag_bits & _DESCRIPTOR)
    if size != info.file_size or (checked and crc != info.CRC):
        raise RuleBroken("zip_bad", f"the zip's {info.orig_filename!r} is not what its header says")
    return digest.hexdigest(), bytes(kept)


def _content(file: BinaryIO, info: ZipInfo) -> Iterator[bytes]:
    if info.flag_bits & _ENCRYPTED or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise RuleBroken("zip_bad", f"the zip's {info.orig_filename!r} is packed in a way Go does not read")
    packed = _packed(file, info)
    return packed if info.compress_type == ZIP_STORED else _inflated(packed, info)


def _packed(file: BinaryIO, info: ZipInfo) -> Iterator[bytes]:
    """The entry's packed bytes: they follow the local header, whose name and extra field have their own lengths."""
    there = 0 <= info.header_offset <= MAX_ZIP  # a zip64 can name places that no file has
    header = file.read(_LOCAL_HEADER) if there and file.seek(info.header_offset) >= 0 else b""
    if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
        raise RuleBroken("zip_bad", f"the zip's {info.orig_filename!r} has no local header")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    left = info.compress_size
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        left -= len(chunk)
        yield chunk


def _inflated(packed: Iterator[bytes], info: ZipInfo) -> Iterator[bytes]:
    """At most a chunk at a time, however well it is packed."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            yield inflater.decompress(chunk, _CHUNK)
            while inflater.unconsumed_tail and not inflater.eof:
                yield inflater.decompress(inflater.unconsumed_tail, _CHUNK)
            if inflater.eof:
                return  # go reads no further either, and what is fed behind the end would be copied each time
        yield inflater.flush()
    except zlib.error as error:
        raise RuleBroken("zip_bad", f"the zip's {info.orig_filename!r}: {error}") from None
    if not inflater.eof:
        raise RuleBroken("zip_bad", f"the zip's {info.orig_filename!r} ends too early")
