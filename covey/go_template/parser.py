"""Parser of templates: the syntax tree of a source, with every function and variable known. Pure."""

import json
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from covey.errors import InvalidArgumentError
from covey.go_template.lexer import Part, Token, split
from covey.go_template.limits import MAX_DEPTH, parsing_error
from covey.go_template.syntax import (
    Action,
    Branch,
    Command,
    Field,
    Function,
    Group,
    Literal,
    Node,
    Pipeline,
    Term,
    Text,
    Variable,
)

_WORDS = {"true": True, "false": False, "nil": None}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_KEYWORDS = frozenset({"define", "template", "block", "break", "continue"})


class _Block(NamedTuple):
    """The nodes of a block, and the words of the action that ended it; () at the end of the source."""

    nodes: tuple[Node, ...]
    end: Sequence[Token]


class Parser:
    """Parses one source. ``functions`` are the names that it may call."""

    def __init__(self, source: str, functions: Collection[str]) -> None:
        self._parts: list[Part] = list(split(source))
        self._at = 0
        self._functions = functions
        self._scopes: list[set[str]] = [{"$"}]

    def parse(self) -> tuple[Node, ...]:
        """The nodes of the whole source. Raises InvalidArgumentError, which names the wrong part."""
        block = self._block(0)
        if block.end:
            raise parsing_error(f"unexpected {{{{{_source(block.end)}}}}}")
        return block.nodes

    def _block(self, depth: int, variables: Sequence[str] = ()) -> _Block:
        if depth > MAX_DEPTH:
            raise parsing_error(f"blocks are nested deeper than {MAX_DEPTH}")
        self._scopes.append(set(variables))
        nodes: list[Node] = []
        end: Sequence[Token] = ()
        while self._at < len(self._parts) and not end:
            part = self._parts[self._at]
            self._at += 1
            word = part[0].text if not isinstance(part, str) and part and part[0].kind == "word" else ""
            if isinstance(part, str):
                nodes.append(Text(part))
            elif word in {"end", "else"}:
                end = part
            elif word in {"if", "range", "with"}:
                nodes.append(self._branch(word, part[1:], depth))
            else:
                nodes.append(self._action(part))
        self._scopes.pop()
        return _Block(tuple(nodes), end)

    def _action(self, tokens: Sequence[Token]) -> Action:
        names, declares, rest = self._assignment(tokens)
        pipeline = self._pipeline(rest)
        if not names:
            return Action(pipeline)
        if declares:
            self._scopes[-1].add(names[0])
        return Action(pipeline, names[0], declares)

    def _branch(self, kind: str, condition: Sequence[Token], depth: int) -> Branch:
        names, _, rest = self._assignment(condition)
        pipeline = self._pipeline(rest)
        body = self._block(depth + 1, names)
        otherwise: tuple[Node, ...] = ()
        end = body.end
        if end and end[0].text == "else":
            if len(end) > 1 and end[1].text == kind and kind != "range":
                return Branch(kind, pipeline, body.nodes, (self._chained(kind, end[2:], depth),), names)
            if len(end) > 1:
                raise parsing_error(f"unexpected {{{{{_source(end)}}}}}")
            last = self._block(depth + 1, names)
            otherwise, end = last.nodes, last.end
        if [token.text for token in end] != ["end"]:
            raise parsing_error(f"{{{{{kind}}}}} without {{{{end}}}}")
        return Branch(kind, pipeline, body.nodes, otherwise, names)

    def _chained(self, kind: str, condition: Sequence[Token], depth: int) -> Branch:
        if depth >= MAX_DEPTH:
            raise parsing_error(f"blocks are nested deeper than {MAX_DEPTH}")
        return self._branch(kind, condition, depth + 1)

    def _assignment(self, tokens: Sequence[Token]) -> tuple[tuple[str, ...], bool, Sequence[Token]]:
        """The variables in front of ``:=`` or ``=``, whether they are declared, and the words after it."""
        mark = next((place for place in (1, 3) if len(tokens) > place and tokens[place].text in {":=", "="}), 0)
        names = tuple(token.text for token in tokens[:mark:2])
        if not mark or any(token.kind != "variable" for token in tokens[:mark:2]):
            return (), False, tokens
        if mark > 1 and tokens[1].text != ",":
            return (), False, tokens
        declares = tokens[mark].text == ":="
        for name in names:
            if "." in name or (not declares and not self._knows(name)):
                raise parsing_error(f"undefined variable {name}")
        return names, declares, tokens[mark + 1 :]

    def _knows(self, name: str) -> bool:
        return any(name in scope for scope in self._scopes)

    def _pipeline(self, tokens: Sequence[Token]) -> Pipeline:
        pipeline, at = self._commands(tokens, 0, 0)
        if at < len(tokens):
            raise parsing_error(f"unexpected {tokens[at].text!r} in {{{{{_source(tokens)}}}}}")
        return pipeline

    def _commands(self, tokens: Sequence[Token], at: int, depth: int) -> tuple[Pipeline, int]:
        """The commands up to a right parenthesis or the end of the words, and the place of what ended them."""
        if depth > MAX_DEPTH:
            raise parsing_error(f"parentheses are nested deeper than {MAX_DEPTH}")
        commands: list[Command] = []
        terms: list[Term] = []
        while at < len(tokens) and tokens[at].text != ")":
            token = tokens[at]
            at += 1
            if (token.kind, token.text) == ("mark", "|"):
                commands.append(tuple(terms))
                terms = []
            elif (token.kind, token.text) == ("mark", "("):
                term, at = self._group(tokens, at, depth)
                terms.append(term)
            else:
                terms.append(self._term(token))
        commands.append(tuple(terms))
        if not all(commands):
            raise parsing_error(f"missing value in {{{{{_source(tokens)}}}}}")
        for place, command in enumerate(commands):
            if (place or len(command) > 1) and not isinstance(command[0], Function):
                raise parsing_error(f"non-function in {{{{{_source(tokens)}}}}} has arguments")
        return tuple(commands), at

    def _group(self, tokens: Sequence[Token], at: int, depth: int) -> tuple[Group, int]:
        inner, end = self._commands(tokens, at, depth + 1)
        if end == len(tokens):
            raise parsing_error("unclosed left parenthesis")
        end += 1
        if end < len(tokens) and tokens[end].kind == "path" and tokens[end].adjacent:
            return Group(inner, _path(tokens[end].text)), end + 1
        return Group(inner, ()), end

    def _term(self, token: Token) -> Term:
        kind, text = token.kind, token.text
        if kind == "string":
            return Literal(_unquoted(text))
        if kind == "number":
            return Literal(float(text) if "." in text else int(text))
        if kind == "path":
            return Field(_path(text))
        if kind == "variable":
            name, _, path = text.partition(".")
            if not self._knows(name):
                raise parsing_error(f"undefined variable {name}")
            return Variable(name, tuple(path.split(".")) if path else ())
        if kind == "word" and text in _WORDS:
            return Literal(_WORDS[text])
        if kind == "word" and text in _KEYWORDS:
            raise parsing_error(f"{{{{{text}}}}} is not supported")
        if kind == "word" and text not in self._functions:
            raise parsing_error(f'function "{text}" not defined; use one of {", ".join(sorted(self._functions))}')
        if kind == "word":
            return Function(text)
        raise parsing_error(f"unexpected {text!r}")


def _path(text: str) -> tuple[str, ...]:
    return tuple(text[1:].split(".")) if len(text) > 1 else ()


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    invalid = parsing_error(f"invalid string {text[:40]}")
    if _SURROGATE.search(text):  # no text can hold one
        raise invalid
    try:
        return str(json.loads(text))
    except ValueError:
        raise invalid from None


def _source(tokens: Sequence[Token]) -> str:
    return " ".join(token.text for token in tokens)[:80]


def parse(source: str, functions: Collection[str]) -> tuple[Node, ...]:
    """The syntax tree of a source. Raises InvalidArgumentError, which names the wrong part."""
    try:
        return Parser(source, functions).parse()
    except ValueError as error:  # an integer with more digits than Python reads
        raise parsing_error(str(error)) from InvalidArgumentError(str(error))
