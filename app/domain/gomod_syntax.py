"""The syntax of go.mod: lines of tokens, some in parentheses (golang.org/x/mod/modfile/read.go).

Anybody may publish a go.mod of many megabytes: nothing is kept but the line that is read.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from app.domain.gofold import GO_SPACE, printable_ranges
from app.domain.rules import RuleBroken

MAX_PARSED = 1 << 20
"""Bytes of go.mod: Go takes 16 MiB, which would cost minutes of processor time here."""
_COMMENT = re.compile(r"//[^\n]*\n?")
_QUOTED = r'"(?:[^"\\\n]++|\\.)*+"|`[^`\n]*+`'
_ENDS = ("\n", "eof")
_KEPT = 64  # tokens of a line: no directive has as many that count

_Token = tuple[str, str]
"""Kind and text. Kinds: `\\n` for whatever ends a line (a comment after tokens does), `comment` for a whole-line comment,
`eof`, a punctuation character, or `word`.
"""


class Line(NamedTuple):
    """A line by itself (`within` is None: `tokens` are all of it), or one in a block, whose `tokens` stand before its `(`.

    Of very long lines the first tokens only.
    """

    tokens: list[str]
    within: list[str] | None = None


def parse_lines(data: bytes) -> Iterator[Line]:
    """The lines of a file; RuleBroken where Go's lexer or parser stops (`go_mod_syntax`), when the iterator comes to it.

    `go_mod_size`, at once, above MAX_PARSED.
    """
    if len(data) > MAX_PARSED:
        raise RuleBroken("go_mod_size", f"go.mod has {len(data)} bytes; modsync reads those of {MAX_PARSED} at most")
    return _lines(_Reader(_tokens(data.decode(errors="surrogateescape"))))


class _Reader:
    """Tokens with one of look-ahead, which is lexed only when it is reached: Go stops at the first error."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokens = tokens
        self.next, self.text = next(tokens)

    def take(self) -> _Token:
        token = self.next, self.text
        self.next, self.text = next(self._tokens, token)
        return token

    def rest(self, tokens: list[str]) -> list[str]:
        """`tokens` with what follows them on their line."""
        while self.next not in _ENDS:
            _keep(tokens, self.take()[1])
        self.take()
        return tokens


def _lines(reader: _Reader) -> Iterator[Line]:
    while reader.next != "eof":
        if reader.next in ("\n", "comment"):
            reader.take()
        else:
            yield from _statement(reader)


def _statement(reader: _Reader) -> Iterator[Line]:
    tokens = [reader.take()[1]]
    while (token := reader.take())[0] not in _ENDS:
        if token[0] == "(" and reader.next in _ENDS:
            yield from _block(reader, tokens)
            return
        if token[0] == "(" and reader.next == ")":
            reader.take()
            if reader.next in _ENDS:
                reader.take()
                return
            _keep(tokens, "(")
            token = (")", ")")
        _keep(tokens, token[1])
    yield Line(tokens)


def _block(reader: _Reader, tokens: list[str]) -> Iterator[Line]:
    while reader.next != ")":
        if reader.next == "eof":
            raise RuleBroken("go_mod_syntax", "go.mod has an unterminated block")
        if reader.next in ("\n", "comment"):
            reader.take()
        else:
            yield Line(tokens, reader.rest([]))
    reader.take()
    if reader.take()[0] not in _ENDS:
        raise RuleBroken("go_mod_syntax", "go.mod needs a newline after a closing parenthesis")


def _keep(tokens: list[str], text: str) -> None:
    if len(tokens) < _KEPT:
        tokens.append(text)


def _tokens(text: str) -> Iterator[_Token]:
    """Lex lazily; the last token is `eof`."""
    place, match_at = 0, _lexer(text.isascii()).match
    while match := match_at(text, place):
        place = match.end()
        if kind := match.lastgroup:
            yield kind, match[kind]
            continue
        if mark := match[1]:
            yield mark, mark
            continue
        token, place = _token(text, place)
        yield token
        if token[0] == "eof":
            return


def _token(text: str, place: int) -> tuple[_Token, int]:
    """The token at `place`, where neither a mark nor a whole word is, and where it ends."""
    if text.startswith("//", place):
        line_start = text.rfind("\n", 0, place) + 1
        alone = not text[line_start:place].strip(GO_SPACE)
        return ("comment" if alone else "\n", ""), _end(_COMMENT, text, place)
    if place == len(text):
        return ("eof", ""), place
    if text[place] in '"`':
        raise RuleBroken("go_mod_syntax", "go.mod has an unterminated string")
    if text.startswith("/*", _end(_word(text.isascii()), text, place)):
        raise RuleBroken("go_mod_syntax", "go.mod has a /* */ comment")
    raise RuleBroken("go_mod_syntax", f"go.mod has an unexpected character {text[place]!r}")


@cache
def _word(ascii_only: bool) -> re.Pattern[str]:
    """Words run over printable characters up to a space, punctuation, `//` or `/*`; quotes inside are part of them.

    The 700 ranges beyond ASCII take a tenth of a second to compile, and next to no go.mod needs them.
    """
    ranges = () if ascii_only else printable_ranges()
    beyond = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges if first > 0x7F)
    chars = rf"!#-'*+\-.0-Z\\^_a-z|~{beyond}" + ("" if ascii_only else r"\ud800-\udfff")
    return re.compile(rf"(?:[{chars}]|/(?![/*]))(?:[\"`{chars}]++|/(?![/*]))*+")


@cache
def _lexer(ascii_only: bool) -> re.Pattern[str]:
    """Blanks, and behind them, where there is one, a mark (group 1) or a word."""
    word = _word(ascii_only).pattern
    return re.compile(rf"[ \t\r]*+(?:([\n()\[\]{{}},])|(?P<word>(?:{word})(?!/\*)|{_QUOTED}))?", re.DOTALL)


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place
