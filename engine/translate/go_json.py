"""Malformed JSON in the words of Go's ``encoding/json``, which Docker clients match. Pure.

Called by ``engine.request_context`` for a body that the decoder refused, so it need not be fast; ``MAX_SCANNED_BYTES`` bounds its time.
"""

import re

MAX_SCANNED_BYTES = 256 << 10
MAX_DEPTH = 10_000

_SPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_ESCAPES = frozenset(b'"\\/bfnrt')
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_QUOTED = {"'": r"'\''", '"': "'\"'", "\\": r"'\\'", "\n": r"'\n'", "\r": r"'\r'", "\t": r"'\t'"}

_VALUE = "looking for beginning of value"
_KEY = "looking for beginning of object key string"


class _SyntaxError(Exception):
    """The message of the first error in the text."""


def syntax_error(data: bytes) -> str:
    """What Go says of the text; empty if it finds one value there. Only the first value is looked at."""
    if len(data) > MAX_SCANNED_BYTES:
        return ""
    try:
        _Scanner(data).value()
    except _SyntaxError as error:
        return str(error)
    return ""


class _Scanner:
    """Reads one value from the front of the text."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self) -> None:
        """Reads a value with all that is in it, without recursion: ``open_containers`` holds the end mark of each container."""
        open_containers: list[int] = []
        while True:
            mark = self._peek(_VALUE)
            if mark in b"{[" and len(open_containers) >= MAX_DEPTH:
                raise _SyntaxError("exceeded max depth")
            if mark in b"{[":
                self._at += 1
                open_containers.append(ord("}") if mark in b"{" else ord("]"))
                if self._empty(open_containers[-1]):
                    open_containers.pop()
                else:
                    if open_containers[-1] == ord("}"):
                        self._key()
                    continue
            else:
                self._scalar(mark)
            if not self._next_item(open_containers):
                return

    def _next_item(self, open_containers: list[int]) -> bool:
        """Moves behind a value to the next one. False if there is none, because every container is closed."""
        while open_containers:
            end = open_containers[-1]
            where = "after object key:value pair" if end == ord("}") else "after array element"
            mark = self._peek(where, ends=frozenset((end, ord(","))))
            self._at += 1
            if mark[0] == ord(","):
                if end == ord("}"):
                    self._key()
                return True
            open_containers.pop()
        return False

    def _empty(self, end: int) -> bool:
        """Whether the container that was just opened ends here."""
        if self._peek(_VALUE if end == ord("]") else _KEY)[0] != end:
            return False
        self._at += 1
        return True

    def _key(self) -> None:
        self._peek(_KEY, ends=frozenset(b'"'))
        self._string()
        self._peek("after object key", ends=frozenset(b":"))
        self._at += 1

    def _scalar(self, mark: bytes) -> None:
        if mark == b'"':
            self._string()
        elif mark[0] in _LITERALS:
            self._literal(_LITERALS[mark[0]])
        elif mark in b"-0123456789":
            self._number()
        else:
            raise self._unexpected(_VALUE)

    def _string(self) -> None:
        self._at += 1
        while True:
            found = _PLAIN.match(self._data, self._at)
            self._at = found.end() if found else self._at
            mark = self._byte()
            if mark == ord('"'):
                self._at += 1
                return
            if mark != ord("\\"):
                raise self._unexpected("in string literal")
            self._at += 1
            escape = self._byte()
            if escape == ord("u"):
                self._hexadecimal()
            elif escape not in _ESCAPES:
                raise self._unexpected("in string escape code")
            self._at += 1

    def _hexadecimal(self) -> None:
        for _ in range(4):
            self._at += 1
            if self._byte() not in _HEX:
                raise self._unexpected("in \\u hexadecimal character escape")

    def _literal(self, word: bytes) -> None:
        for index, expected in enumerate(word):
            if self._byte() != expected:
                raise self._unexpected(
                    f"in literal {word.decode()} (expecting {_quote(expected)})" if index else _VALUE
                )
            self._at += 1

    def _number(self) -> None:
        found = _NUMBER.match(self._data, self._at)
        if found is None:
            self._at += 1
            self._byte()
            raise self._unexpected("in numeric literal")
        self._at = found.end()
        rest = self._data[self._at : self._at + 1]
        if rest == b"." and b"." not in found[0]:
            self._at += 1
            self._byte()
            raise self._unexpected("after decimal point in numeric literal")
        if rest in (b"e", b"E") and not {*b"eE"} & {*found[0]}:
            self._at += 1
            if self._byte() in b"+-":
                self._at += 1
                self._byte()
            raise self._unexpected("in exponent of numeric literal")

    def _peek(self, where: str, *, ends: frozenset[int] | None = None) -> bytes:
        """The next byte that is no space, which must be one of ``ends`` if they are given."""
        found = _SPACE.match(self._data, self._at)
        self._at = found.end() if found else self._at
        mark = self._byte()
        if ends is not None and mark not in ends:
            raise self._unexpected(where)
        return bytes((mark,))

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise _SyntaxError("unexpected EOF")
        return self._data[self._at]

    def _unexpected(self, where: str) -> _SyntaxError:
        return _SyntaxError(f"invalid character {_quote(self._data[self._at])} {where}")


def _quote(byte: int) -> str:
    """A byte as Go prints it in an error."""
    character = chr(byte)
    if character in _QUOTED:
        return _QUOTED[character]
    if character.isprintable():
        return f"'{character}'"
    return f"'\\x{byte:02x}'" if byte < 0x80 else f"'\\u{byte:04x}'"
