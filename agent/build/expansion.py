"""Expansion of variables in a Dockerfile: `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}` and escapes. Pure."""

import re
from collections.abc import Mapping

from covey.errors import InvalidArgumentError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":+", ":?", "-", "+", "?")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\", *, quotes: bool = True) -> str:
    """The text with its variables replaced. With `quotes` they are removed, and nothing is expanded inside single ones.

    Raises InvalidArgumentError for a malformed `${`, and for `${NAME:?word}` without a value.
    """
    return _Expander(text, variables, escape, quotes=quotes).run()


class _Expander:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str, *, quotes: bool) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._quotes = quotes
        self._at = 0

    def run(self) -> str:
        parts, quote = [], ""
        while self._at < len(self._text):
            letter = self._text[self._at]
            if self._quotes and letter == quote:
                quote, self._at = "", self._at + 1
            elif self._quotes and not quote and letter in "'\"":
                quote, self._at = letter, self._at + 1
            elif letter == self._escape and quote != "'":
                parts.append(self._escaped(quote))
            elif letter == "$" and quote != "'":
                parts.append(self._variable())
            else:
                parts.append(letter)
                self._at += 1
        return "".join(parts)

    def _escaped(self, quote: str) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        special = None if self._quotes and not quote else ('"$' if quote else "$") + self._escape
        if not following:
            return self._escape
        return following if special is None or following in special else self._escape + following

    def _variable(self) -> str:
        if self._text.startswith("${", self._at):
            return self._braced()
        found = _NAME.match(self._text, self._at + 1)
        if found is None:
            self._at += 1
            return "$"
        self._at = found.end()
        return self._variables.get(found[0], "")

    def _braced(self) -> str:
        end = self._closing_brace()
        inner = self._text[self._at + 2 : end]
        self._at = end + 1
        found = _NAME.match(inner)
        if found is None:
            raise InvalidArgumentError(f"failed to process {self._text[:200]!r}: bad substitution")
        name, rest = found[0], inner[found.end() :]
        value = self._variables.get(name)
        if not rest:
            return value or ""
        operator = next((each for each in _OPERATORS if rest.startswith(each)), "")
        if not operator:
            raise InvalidArgumentError(
                f"failed to process {self._text[:200]!r}: unsupported modifier ({rest[:20]}) in substitution"
            )
        is_set = bool(value) if operator.startswith(":") else value is not None
        word = rest[len(operator) :]
        if operator.endswith("?") and not is_set:
            raise InvalidArgumentError(
                f"failed to process {self._text[:200]!r}: {name}: {word or 'not allowed to be unset'}"
            )
        chosen = is_set if operator.endswith("+") else not is_set
        if operator.endswith("?") or not chosen:
            return "" if operator.endswith("+") else value or ""
        return expand(word, self._variables, self._escape, quotes=self._quotes)

    def _closing_brace(self) -> int:
        depth = 0
        for at in range(self._at + 1, len(self._text)):
            depth += {"{": 1, "}": -1}.get(self._text[at], 0)
            if depth == 0:
                return at
        raise InvalidArgumentError(f"failed to process {self._text[:200]!r}: missing }} in substitution")
