"""Splits the source of a template into texts and actions of tokens, in one pass. Pure."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from covey.go_template.limits import MAX_TOKENS, parsing_error

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?\b)"""
    r"""|(?P<path>\.(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?)|(?P<variable>\$(?:[A-Za-z_]\w*)?(?:\.[A-Za-z_]\w*)*)"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|[|(),=]))"""
)
_END = re.compile(r"(?P<trim>\s+-)\}\}|\s*\}\}")
_COMMENT_END = re.compile(r"\*/(?P<trim>\s+-)?\}\}")
_SPACES = " \t\r\n"


class Token(NamedTuple):
    """A part of an action: its kind (string, number, path, variable, word, mark), text, and whether it stands right after the last one."""

    kind: str
    text: str
    adjacent: bool


Part = str | list[Token]
"""A text, or the tokens of an action."""


def split(source: str) -> Iterator[Part]:
    """The texts and actions of a source; comments are left out. Raises InvalidArgumentError at what is no token or not closed."""
    at, trim, tokens_left = 0, False, MAX_TOKENS
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        text = text.lstrip(_SPACES) if trim else text
        at = start + 2
        left_trim = start >= 0 and source[at : at + 1] == "-" and source[at + 1 : at + 2] in tuple(_SPACES)
        if text := text.rstrip(_SPACES) if left_trim else text:
            yield text
        if start < 0:
            return
        at += 2 if left_trim else 0
        if source.startswith("/*", at):
            at, trim = _skip_comment(source, at)
            continue
        tokens, at, trim = _action(source, at, tokens_left)
        tokens_left -= len(tokens) + 1
        yield tokens


def _skip_comment(source: str, at: int) -> tuple[int, bool]:
    end = _COMMENT_END.search(source, at)
    if end is None:
        raise parsing_error("unclosed comment")
    return end.end(), end["trim"] is not None


def _action(source: str, at: int, tokens_left: int) -> tuple[list[Token], int, bool]:
    """The tokens of an action, where it ends, and whether the white space after it goes."""
    tokens: list[Token] = []
    while (end := _END.match(source, at)) is None:
        match = _TOKEN.match(source, at)
        if match is None:
            rest = source[at : at + 20].strip()
            raise parsing_error(f"unexpected {rest!r} in an action" if rest else "unclosed action")
        kind = str(match.lastgroup)
        tokens.append(Token(kind, match[kind], match.start(kind) == at))
        if len(tokens) >= tokens_left:
            raise parsing_error(f"the template has more than {MAX_TOKENS} words; make it smaller")
        at = match.end()
    return tokens, end.end(), end["trim"] is not None
