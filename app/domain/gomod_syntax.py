"""The syntax of go.mod: lines of tokens, some in parentheses (golang.org/x/mod/modfile/read.go)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.domain.gofold import GO_SPACE, is_print
from app.domain.rules import RuleBroken

_BLANK = re.compile(r"[ \t\r]*")
_COMMENT = re.compile(r"//[^\n]*\n?")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`\n]*`', re.DOTALL)
_PUNCTUATION = "\n()[]{},"


@dataclass(frozen=True, slots=True)
class Statement:
    """A line (`lines` is None) or a block: `tokens` stand before `(`, `lines` between the parentheses."""

    tokens: list[str]
    lines: list[list[str]] | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind`: `\\n` for whatever ends a line (a comment after tokens does), `comment` for a whole-line comment, `eof`,
    a punctuation character, or `word`.
    """

    kind: str
    text: str

    @property
    def ends_line(self) -> bool:
        return self.kind in ("\n", "eof")


def parse_statements(text: str) -> list[Statement]:
    """All statements of a file; RuleBroken `go_mod_syntax` where Go's lexer or parser stops."""
    reader = _Reader(_tokens(text))
    statements = []
    while reader.next.kind != "eof":
        if reader.next.kind in ("\n", "comment"):
            reader.take()
        else:
            statements.append(_statement(reader))
    return statements


class _Reader:
    """Tokens with one of look-ahead, which is lexed only when it is reached: Go stops at the first error."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokens = tokens
        self.next = next(tokens)

    def take(self) -> _Token:
        token = self.next
        self.next = next(self._tokens, token)
        return token


def _statement(reader: _Reader) -> Statement:
    tokens = [reader.take().text]
    while not (token := reader.take()).ends_line:
        if token.kind == "(" and reader.next.ends_line:
            return Statement(tokens, _block(reader))
        tokens.append(token.text)
        if token.kind == "(" and reader.next.kind == ")":
            tokens.append(reader.take().text)
            if reader.next.ends_line:
                reader.take()
                return Statement(tokens[:-2], [])
    return Statement(tokens)


def _block(reader: _Reader) -> list[list[str]]:
    lines = []
    while reader.next.kind != ")":
        if reader.next.kind == "eof":
            raise RuleBroken("go_mod_syntax", "go.mod has an unterminated block")
        if reader.next.kind in ("\n", "comment"):
            reader.take()
        else:
            lines.append(_line(reader))
    reader.take()
    if not reader.take().ends_line:
        raise RuleBroken("go_mod_syntax", "go.mod needs a newline after a closing parenthesis")
    return lines


def _line(reader: _Reader) -> list[str]:
    tokens = []
    while not (token := reader.take()).ends_line:
        tokens.append(token.text)
    return tokens


def _tokens(text: str) -> Iterator[_Token]:
    """Lex lazily; the last token is `eof`."""
    place = 0
    while True:
        place = _end(_BLANK, text, place)
        token, place = _token(text, place)
        yield token
        if token.kind == "eof":
            return


def _token(text: str, place: int) -> tuple[_Token, int]:
    """The token at `place` and where it ends."""
    if text.startswith("//", place):
        line_start = text.rfind("\n", 0, place) + 1
        alone = not text[line_start:place].strip(GO_SPACE)
        return _Token("comment" if alone else "\n", ""), _end(_COMMENT, text, place)
    if place == len(text):
        return _Token("eof", ""), place
    if text[place] in _PUNCTUATION:
        return _Token(text[place], text[place]), place + 1
    end = _string_end(text, place) if text[place] in '"`' else _word_end(text, place)
    return _Token("word", text[place:end]), end


def _string_end(text: str, place: int) -> int:
    match = _QUOTED.match(text, place)
    if match is None:
        raise RuleBroken("go_mod_syntax", "go.mod has an unterminated string")
    return match.end()


def _word_end(text: str, place: int) -> int:
    """Words run over printable characters up to a space, punctuation or `//`; quotes inside are part of them."""
    end = place
    while end < len(text) and _in_word(text[end]) and not text.startswith("//", end):
        if text.startswith("/*", end):
            raise RuleBroken("go_mod_syntax", "go.mod has a /* */ comment")
        end += 1
    if end == place:
        raise RuleBroken("go_mod_syntax", f"go.mod has an unexpected character {text[place]!r}")
    return end


def _in_word(char: str) -> bool:
    return char not in GO_SPACE and char not in _PUNCTUATION and is_print(char)


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place
