"""A parsed template: rendering within limits, and what it refers to. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from covey.go_template.functions import BUILTINS, LAZY
from covey.go_template.limits import DEFAULT_LIMITS, Limits, rendering_error
from covey.go_template.parser import parse
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
from covey.go_template.values import ABSENT, go_text, walk

Functions = Mapping[str, Callable[..., Any]]


class Template:
    """A parsed template. ``strict`` refuses missing keys of maps, which else print ``<no value>``.

    Raises:
        InvalidArgumentError: at construction or rendering, with the wrong part.
    """

    def __init__(self, source: str, functions: Functions = BUILTINS, *, strict: bool = False) -> None:
        self._functions = functions
        self._strict = strict
        self._nodes = parse(source, functions.keys())

    def render(self, value: Any, *, functions: Functions | None = None, limits: Limits = DEFAULT_LIMITS) -> str:
        """The text for one value: mappings, sequences, strings, numbers, booleans and None. ``functions`` replace those of a name."""
        known = {**self._functions, **functions} if functions else self._functions
        return _Rendering(known, limits, strict=self._strict).text(self._nodes, value)

    def root_paths(self) -> Iterator[tuple[str, ...]]:
        """The paths from the template's value, in all branches. Inside ``range`` and ``with`` only those from ``$``."""
        for term, at_root in _terms(self._nodes, at_root=True):
            if (isinstance(term, Variable) and term.name == "$") or (isinstance(term, Field) and at_root):
                yield term.path

    def literal_calls(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The calls of functions whose arguments are literals, in all branches."""
        for command in _commands(self._nodes):
            head, *rest = command
            if isinstance(head, Function) and rest and all(isinstance(term, Literal) for term in rest):
                yield head.name, tuple(term.value for term in rest if isinstance(term, Literal))


def _pipelines(nodes: Sequence[Node], *, at_root: bool) -> Iterator[tuple[Pipeline, bool]]:
    """Every pipeline, and whether the dot is the template's value there."""
    for node in nodes:
        if isinstance(node, Action):
            yield node.pipeline, at_root
        elif isinstance(node, Branch):
            yield node.pipeline, at_root
            yield from _pipelines(node.body, at_root=at_root and node.kind == "if")
            yield from _pipelines(node.otherwise, at_root=at_root)


def _commands(nodes: Sequence[Node]) -> Iterator[Command]:
    waiting = [pipeline for pipeline, _ in _pipelines(nodes, at_root=True)]
    while waiting:
        for command in waiting.pop():
            yield command
            waiting += [term.pipeline for term in command if isinstance(term, Group)]


def _terms(nodes: Sequence[Node], *, at_root: bool) -> Iterator[tuple[Term, bool]]:
    waiting = list(_pipelines(nodes, at_root=at_root))
    while waiting:
        pipeline, is_root = waiting.pop()
        for term in (term for command in pipeline for term in command):
            yield term, is_root
            if isinstance(term, Group):
                waiting.append((term.pipeline, is_root))


class _Scope:
    """The variables of a block and of those around it."""

    def __init__(self, values: dict[str, Any], outer: "_Scope | None" = None) -> None:
        self.values = values
        self._outer = outer

    def get(self, name: str) -> Any:
        scope: _Scope | None = self
        while scope is not None and name not in scope.values:
            scope = scope._outer
        return ABSENT if scope is None else scope.values[name]

    def assign(self, name: str, value: Any) -> None:
        scope: _Scope | None = self
        while scope is not None and name not in scope.values:
            scope = scope._outer
        (scope or self).values[name] = value


class _Rendering:
    """One rendering, with what is left of its limits."""

    def __init__(self, functions: Functions, limits: Limits, *, strict: bool) -> None:
        self._functions = functions
        self._limits = limits
        self._strict = strict
        self._steps = 0
        self._length = 0
        self._texts: list[str] = []

    def text(self, nodes: Sequence[Node], value: Any) -> str:
        self._run(nodes, value, _Scope({"$": value}))
        return "".join(self._texts)

    def _run(self, nodes: Sequence[Node], dot: Any, scope: _Scope) -> None:
        for node in nodes:
            self._step()
            if isinstance(node, Text):
                self._write(node.text)
            elif isinstance(node, Branch):
                self._branch(node, dot, scope)
            else:
                value = self._evaluate(node.pipeline, dot, scope)
                if not node.variable:
                    self._write(go_text(value))
                elif node.declares:
                    scope.values[node.variable] = value
                else:
                    scope.assign(node.variable, value)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > self._limits.steps:
            raise rendering_error(f"it takes more than {self._limits.steps} steps; make it simpler")

    def _require_size(self, length: int) -> None:
        if length > self._limits.characters:
            raise rendering_error(f"the result is larger than {self._limits.characters} characters")

    def _write(self, text: str) -> None:
        self._length += len(text)
        self._require_size(self._length)
        self._texts.append(text)

    def _branch(self, node: Branch, dot: Any, scope: _Scope) -> None:
        value = self._evaluate(node.pipeline, dot, scope)
        if value is ABSENT or not value:
            self._run(node.otherwise, dot, _Scope(dict.fromkeys(node.variables, value), scope))
        elif node.kind == "range":
            for key, item in _pairs(value):
                items = (key, item) if len(node.variables) > 1 else (item,)
                self._run(node.body, item, _Scope(dict(zip(node.variables, items, strict=False)), scope))
        else:
            inner = _Scope(dict.fromkeys(node.variables, value), scope)
            self._run(node.body, value if node.kind == "with" else dot, inner)

    def _evaluate(self, pipeline: Pipeline, dot: Any, scope: _Scope) -> Any:
        value: Any = ABSENT
        for place, (head, *rest) in enumerate(pipeline):
            if not isinstance(head, Function):
                value = self._term(head, dot, scope)
                continue
            last = (Literal(value),) if place else ()
            value = self._call(head.name, (*rest, *last), dot, scope)
        return value

    def _term(self, term: Term, dot: Any, scope: _Scope) -> Any:
        match term:
            case Literal():
                return term.value
            case Field():
                return walk(dot, term.path, strict=self._strict)
            case Variable():
                return walk(scope.get(term.name), term.path, strict=self._strict)
            case Group():
                return walk(self._evaluate(term.pipeline, dot, scope), term.path, strict=self._strict)
            case Function():
                return self._call(term.name, (), dot, scope)

    def _call(self, name: str, terms: Sequence[Term], dot: Any, scope: _Scope) -> Any:
        self._step()
        arguments: list[Any] = []
        for term in terms:
            value = self._term(term, dot, scope)
            arguments.append(None if value is ABSENT else value)
            if name in LAZY and bool(arguments[-1]) == (name == "or"):
                break
        try:
            result = self._functions[name](*arguments)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise rendering_error(f"error calling {name}: {error}") from error
        if isinstance(result, str | list | tuple):
            self._require_size(len(result))
        return result


def _pairs(value: Any) -> Sequence[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    raise rendering_error(f"range can't iterate over {go_text(value)[:40]}")
