"""Substitution of variables in one text, by the rules of docker stack and by those of Docker Compose. Pure.

Both know ``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``${NAME:?message}``, ``${NAME?message}`` and ``$$``. They
differ: docker stack keeps defaults literally, takes an operator without braces too (``$NAME:-default``), and refuses a dollar sign
before anything else; Compose substitutes within defaults, knows
``${NAME:+other}``, and keeps a lone dollar sign.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

_STACK_VARIABLE = r"[_a-z][_a-z0-9]*(?::?[-?][^}]*)?"
_STACK = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<named>{_STACK_VARIABLE})|\{{(?P<braced>{_STACK_VARIABLE})\}}|(?P<invalid>))",
    re.IGNORECASE | re.ASCII,
)
_STACK_OPEN = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<named>{_STACK_VARIABLE})|(?P<braced>(?!))|(?P<invalid>))", re.IGNORECASE | re.ASCII
)
_COMPOSE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[_a-z][_a-z0-9]*)|(?P<brace>\{)|(?P<other>))", re.IGNORECASE | re.ASCII
)
_BRACED = re.compile(r"(?P<name>[_a-z][_a-z0-9]*)(?P<operator>:?[-?+])?", re.IGNORECASE | re.ASCII)

MAX_LENGTH = 1 << 20
MAX_NESTED = 32
Variables = Mapping[str, str]
Substitute = Callable[[str, Variables], str]


class InvalidFormatError(ValueError):
    """A text that is not a template; ``args[0]`` is the text."""


class TooLongError(ValueError):
    """A text that is too long or nested too deep after substitution; ``args[0]`` says what the limit is."""


class RequiredVariableError(ValueError):
    """A variable marked as required is not set; ``args[0]`` is the message."""


def substitute_stack(text: str, variables: Variables) -> str:
    """The text by the rules of ``docker stack``.

    Raises:
        InvalidFormatError: a dollar sign that begins no variable.
        RequiredVariableError: ``${NAME?message}`` and NAME is not set.
        TooLongError: the values are longer than 1 MiB together.
    """
    errors: list[ValueError] = []
    length = 0

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name, operator, word = _parts(match["named"] or match["braced"] or "")
        nonlocal length
        errors.clear()  # docker forgets an error when a later variable of the same text is valid
        try:
            if not name:
                raise InvalidFormatError(text)
            found = _value(name, operator, word, variables)
        except ValueError as error:
            errors.append(error)
            return ""
        length = _grown(length, found)
        return found

    closed = text.rfind("}") + 1  # beyond it no brace closes, and a search for one would take the square of the length
    result = _STACK.sub(value, text[:closed]) + _STACK_OPEN.sub(value, text[closed:])
    if errors:
        raise errors[0]
    return result


def substitute_compose(text: str, variables: Variables, depth: int = 0) -> str:
    """The text by the rules of the Compose Specification; errors as ``substitute_stack``. ``depth`` counts defaults within defaults."""
    if depth > MAX_NESTED:
        raise TooLongError(f"more than {MAX_NESTED} defaults are nested")

    def nested(word: str, known: Variables) -> str:
        return substitute_compose(word, known, depth + 1)

    result, at, length = [], 0, 0
    while (match := _COMPOSE.search(text, at)) is not None:
        result.append(text[at : match.start()])
        at = match.end()
        if match["escaped"]:
            result.append("$")
        elif match["named"]:
            result.append(_plain(match["named"], variables))
            length = _grown(length, result[-1])
        elif match["brace"]:
            end = _closing_brace(text, at)
            inner = text[at:end]
            name, operator, word = _parts(inner)
            if end < 0 or not name:
                raise InvalidFormatError(text)
            result.append(_value(name, operator, word, variables, nested))
            length = _grown(length, result[-1])
            at = end + 1
        else:
            result.append("$")
    return "".join(result) + text[at:]


class UnsetVariables(dict[str, str]):
    """Variables that note the names that a text uses without a default though they are not set; those are blank."""

    def __init__(self, variables: Variables, names: set[str]) -> None:
        super().__init__(variables)
        self._names = names

    def __missing__(self, name: str) -> str:
        self._names.add(name)
        return ""


def _plain(name: str, variables: Variables) -> str:
    """The value of a variable that is used without a default; blank if it is not set."""
    try:
        return variables[name]
    except KeyError:
        return ""


class VariableUse(NamedTuple):
    """A variable that a text names: the words of ``${NAME-default}`` and ``${NAME+present}``, and whether it must be set."""

    name: str
    default: str = ""
    present: str = ""
    required: bool = False


def used_variables(text: str) -> list[VariableUse]:
    """The variables that a text names by the rules of the Compose Specification, also those in words of others."""
    found, at = list[VariableUse](), 0
    while (match := _COMPOSE.search(text, at)) is not None:
        at = match.end()
        if match["named"]:
            found.append(VariableUse(match["named"]))
        elif match["brace"]:
            end = _closing_brace(text, at)
            name, operator, word = _parts(text[at:end])
            if end < 0 or not name:
                continue
            default, present = (word if operator.endswith(sign) else "" for sign in "-+")
            found.append(VariableUse(name, default, present, operator.endswith("?")))
            found += used_variables(word)
            at = end + 1
    return found


def _parts(inner: str) -> tuple[str, str, str]:
    """Name, operator and word of ``NAME:-word``; an empty name if it is not of this form."""
    match = _BRACED.match(inner)
    if match is None or (match["operator"] is None and match.end() != len(inner)):
        return "", "", ""
    return match["name"], match["operator"] or "", inner[match.end() :]


def _value(name: str, operator: str, word: str, variables: Variables, nested: Substitute = lambda text, _: text) -> str:
    if not operator:
        return _plain(name, variables)
    value = variables.get(name)
    present = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("+"):
        return nested(word, variables) if present else ""
    if present:
        return value or ""
    if operator.endswith("-"):
        return nested(word, variables)
    message = nested(word, variables)
    raise RequiredVariableError(f"required variable {name} is missing a value" + (f": {message}" if message else ""))


def _grown(length: int, added: str) -> int:
    """The length with a value added.

    Raises:
        TooLongError: it is over the limit.
    """
    length += len(added)
    if length > MAX_LENGTH:
        raise TooLongError(f"the text is longer than {MAX_LENGTH >> 20} MiB")
    return length


def _closing_brace(text: str, at: int) -> int:
    """The index of the brace that closes the one before ``at``, or -1."""
    depth = 1
    for index in range(at, len(text)):
        if text[index] == "}":
            depth -= 1
            if not depth:
                return index
        elif text[index] == "{" and text[index - 1] == "$":
            depth += 1
            if depth > MAX_NESTED:
                raise TooLongError(f"more than {MAX_NESTED} defaults are nested")
    return -1
