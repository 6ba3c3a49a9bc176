"""Go string literals (strconv.Quote and strconv.Unquote), for go.mod."""

import re

from app.domain.gofold import is_print

_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_ESCAPE = re.compile(r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|[abfnrtv\\\"]")
_PIECE = re.compile(rf"\\(?P<escape>{_ESCAPE.pattern})|(?P<plain>[^\\\"\n])")


def unquote(literal: str) -> str | None:
    """The value of a `"..."` or backquoted literal, undecodable bytes as surrogates; None when it is malformed."""
    if len(literal) < 2 or literal[0] != literal[-1]:
        return None
    body = literal[1:-1]
    if literal[0] == "`":
        return None if "`" in body else body.replace("\r", "")
    return _interpreted(body)


def quote(text: str) -> str:
    """`text` as a double-quoted Go literal."""
    return '"' + "".join(map(_quote_char, text)) + '"'


def _interpreted(body: str) -> str | None:
    out = bytearray()
    end = 0
    for piece in _PIECE.finditer(body):
        value = _value(piece)
        if piece.start() != end or value is None:
            return None
        out += value
        end = piece.end()
    return out.decode(errors="surrogateescape") if end == len(body) else None


def _value(piece: re.Match[str]) -> bytes | None:
    """The bytes of one character or escape; None for a rune or octal value out of range."""
    if piece["plain"]:
        return piece["plain"].encode(errors="surrogateescape")
    escape = piece["escape"]
    if escape[0] in _NAMED:
        return _NAMED[escape[0]].encode()
    if escape[0] in "xuU":
        return _rune(int(escape[1:], 16), raw=escape[0] == "x")
    return _rune(int(escape, 8), raw=True)


def _rune(number: int, *, raw: bool) -> bytes | None:
    if raw:
        return bytes([number]) if number < 256 else None
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return None
    return chr(number).encode()


def _quote_char(char: str) -> str:
    named = {value: name for name, value in _NAMED.items()}
    if char in named:
        return "\\" + named[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if is_print(char):
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
