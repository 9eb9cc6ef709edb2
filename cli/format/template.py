"""Go text/template parser and renderer for ``--format``: fields, pipes, functions, if, range, with and variables. Pure.

A template is parsed once to a tree and rendered for each row. The semantics are Go's: a dot is the current value, ``{{-`` and ``-}}``
trim white space, an absent key prints ``<no value>``.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from covey.errors import InvalidArgumentError

_TAG = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<path>\.(?:[A-Za-z_][\w]*(?:\.[A-Za-z_][\w]*)*)?)|(?P<variable>\$[A-Za-z_]?[\w]*(?:\.[A-Za-z_]\w*)*)"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|[|(),=]))"""
)
_ABSENT = object()


class Text(NamedTuple):
    """Literal text of a template."""

    text: str


class Print(NamedTuple):
    """An action that prints a pipeline, or assigns it to ``variable``."""

    pipeline: tuple[Any, ...]
    variable: str = ""


class Branch(NamedTuple):
    """An if, range or with block; ``variables`` are those of ``range $i, $x :=``."""

    kind: str
    pipeline: tuple[Any, ...]
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...] = ()
    variables: tuple[str, ...] = ()


class Template:
    """A parsed template.

    Raises:
        InvalidArgumentError: at construction or rendering, with the wrong part.
    """

    def __init__(self, source: str) -> None:
        self._parts = list(_split(_unescape(source)))
        self._at = 0
        self._tree, end = self._block()
        if end:
            raise _error(f"unexpected {{{{{end}}}}}")

    def render(self, value: Any) -> str:
        """The text for one value: mappings, sequences, strings, numbers, booleans and None."""
        return "".join(_render(self._tree, value, {"$": value}))

    def _block(self) -> tuple[tuple[Any, ...], str]:
        """The nodes up to ``end``, ``else`` or the end of the source, and the tag that ended the block."""
        nodes: list[Any] = []
        while self._at < len(self._parts):
            kind, text = self._parts[self._at]
            self._at += 1
            word = text.split(None, 1)[0] if kind == "tag" and text else ""
            if kind == "text":
                nodes.append(Text(text))
            elif word in {"end", "else"}:
                return tuple(nodes), text
            elif word in {"if", "range", "with"}:
                nodes.append(self._branch(word, text[len(word) :]))
            elif not text.startswith("/*"):
                variables, rest = _assignment(text)
                nodes.append(Print(_pipeline(rest), variables[0] if variables else ""))
        return tuple(nodes), ""

    def _branch(self, kind: str, condition: str) -> Branch:
        variables, rest = _assignment(condition)
        body, end = self._block()
        otherwise: tuple[Any, ...] = ()
        if end.startswith("else"):
            more = end[4:].strip()
            if more:
                word = more.split(None, 1)[0]
                otherwise, end = (self._branch(word, more[len(word) :]),), "end"
            else:
                otherwise, end = self._block()
        if end != "end":
            raise _error(f"{{{{{kind}}}}} without {{{{end}}}}")
        return Branch(kind, _pipeline(rest), body, otherwise, variables)


def _unescape(source: str) -> str:
    return source.replace("\\t", "\t").replace("\\n", "\n")


def _split(source: str) -> Iterator[tuple[str, str]]:
    at, trim = 0, False
    for match in _TAG.finditer(source):
        text = source[at : match.start()]
        text = text.lstrip() if trim else text
        text = text.rstrip() if match[1] else text
        if text:
            yield "text", text
        yield "tag", match[2].strip()
        at, trim = match.end(), bool(match[3])
    rest = source[at:].lstrip() if trim else source[at:]
    if "{{" in rest:
        raise _error("unclosed action")
    if rest:
        yield "text", rest


def _assignment(text: str) -> tuple[tuple[str, ...], str]:
    match = re.match(r"\s*(\$\w+)(?:\s*,\s*(\$\w+))?\s*:?=(?!=)", text)
    if not match:
        return (), text
    return tuple(name for name in match.groups() if name), text[match.end() :]


def _pipeline(text: str) -> tuple[Any, ...]:
    """Commands separated by pipes; a command is a tuple of (kind, value) terms."""
    tokens = _tokens(text)
    parsed, rest = _commands(tokens)
    if rest:
        raise _error(f"unexpected {rest[0][1]!r} in {text.strip()!r}")
    if not parsed or any(not command for command in parsed):
        raise _error(f"missing value in {text.strip()!r}")
    return parsed


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if not match or match.end() == at:
            raise _error(f"unexpected {text[at:].strip()!r}")
        kind = str(match.lastgroup)
        tokens.append((kind, match[kind]))
        at = match.end()
    return tokens


def _commands(tokens: Sequence[tuple[str, str]]) -> tuple[tuple[Any, ...], Sequence[tuple[str, str]]]:
    commands: list[tuple[Any, ...]] = []
    terms: list[tuple[str, Any]] = []
    while tokens:
        (kind, text), tokens = tokens[0], tokens[1:]
        if (kind, text) == ("mark", ")"):
            tokens = [(kind, text), *tokens]
            break
        if (kind, text) == ("mark", "|"):
            commands.append(tuple(terms))
            terms = []
        elif (kind, text) == ("mark", "("):
            inner, tokens = _commands(tokens)
            if not tokens:
                raise _error("unclosed left parenthesis")
            tokens = tokens[1:]
            terms.append(("group", inner))
        elif kind == "string":
            terms.append(("value", json.loads(text) if text.startswith('"') else text[1:-1]))
        elif kind == "number":
            terms.append(("value", float(text) if "." in text else int(text)))
        elif kind == "word" and text in {"true", "false", "nil"}:
            terms.append(("value", {"true": True, "false": False, "nil": None}[text]))
        elif kind in {"path", "variable", "word"}:
            terms.append((kind, text))
        else:
            raise _error(f"unexpected {text!r}")
    commands.append(tuple(terms))
    return tuple(commands), tokens


def _render(nodes: Sequence[Any], dot: Any, variables: dict[str, Any]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Text):
            yield node.text
        elif isinstance(node, Print):
            value = _evaluate(node.pipeline, dot, variables)
            if node.variable:
                variables[node.variable] = value
            else:
                yield go_text(value)
        else:
            yield from _render_branch(node, dot, variables)


def _render_branch(node: Branch, dot: Any, variables: dict[str, Any]) -> Iterator[str]:
    value = _evaluate(node.pipeline, dot, variables)
    if value is _ABSENT or not value:
        yield from _render(node.otherwise, dot, variables)
    elif node.kind == "range":
        pairs = sorted(value.items()) if isinstance(value, Mapping) else enumerate(value)
        for key, item in pairs:
            scope = dict(variables)
            scope.update(zip(node.variables, (key, item) if len(node.variables) > 1 else (item,), strict=False))
            yield from _render(node.body, item, scope)
    else:
        scope = {**variables, **dict.fromkeys(node.variables, value)}
        yield from _render(node.body, value if node.kind == "with" else dot, scope)


def _evaluate(pipeline: Sequence[Any], dot: Any, variables: Mapping[str, Any]) -> Any:
    value: Any = _ABSENT
    for position, command in enumerate(pipeline):
        (kind, head), *rest = command
        arguments = [_term(term, dot, variables) for term in rest]
        if position:
            arguments.append(value)
        if kind == "word":
            value = _call(head, arguments)
        elif arguments:
            raise _error(f"{head} is not a function")
        else:
            value = _term((kind, head), dot, variables)
    return value


def _term(term: tuple[str, Any], dot: Any, variables: Mapping[str, Any]) -> Any:
    kind, value = term
    if kind == "value":
        return value
    if kind == "group":
        return _evaluate(value, dot, variables)
    if kind == "word":
        return _call(value, [])
    if kind == "variable":
        name, _, path = value.partition(".")
        if name not in variables:
            raise _error(f"undefined variable {name}")
        return _walk(variables[name], path)
    return _walk(dot, value[1:])


def _walk(value: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(name, _ABSENT)
        elif value is None or value is _ABSENT:
            return _ABSENT
        else:
            raise _error(f"can't evaluate field {name} in a value of type {type(value).__name__}")
    return value


def _call(name: str, arguments: list[Any]) -> Any:
    function = FUNCTIONS.get(name)
    if function is None:
        raise _error(f"function {name!r} not defined")
    try:
        return function(*[None if argument is _ABSENT else argument for argument in arguments])
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise _error(f"error calling {name}: {error}") from error


def go_text(value: Any) -> str:
    """A value as Go prints it."""
    if value is _ABSENT:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(go_text(item) for item in value)}]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, _ABSENT) if isinstance(value, Mapping) else value[key]
    return value


def _compact_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json": _compact_json,
    "len": len,
    "index": _index,
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(),
    "join": lambda items, separator="": separator.join(go_text(item) for item in items or ()),
    "split": lambda text, separator: text.split(separator),
    "println": lambda *items: " ".join(go_text(item) for item in items) + "\n",
    "print": lambda *items: "".join(go_text(item) for item in items),
    "printf": lambda form, *items: (
        re.sub(r"%[vq]", "%s", form) % tuple(go_text(i) if not isinstance(i, int | float) else i for i in items)
    ),
    "truncate": lambda text, length: str(text)[:length],
    "pad": lambda text, before, after: " " * before + str(text) + " " * after,
    "eq": lambda left, *others: any(left == other for other in others),
    "ne": lambda left, right: left != right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "not": lambda value: not value,
    "and": lambda *items: next((item for item in items if not item), items[-1]),
    "or": lambda *items: next((item for item in items if item), items[-1]),
    "slice": lambda value, start=0, end=None: value[start:end],
}


def _error(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"template parsing error: {message}")
