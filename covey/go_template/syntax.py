"""The syntax tree of a template. Pure data."""

from typing import Any, NamedTuple


class Literal(NamedTuple):
    """A string, number, boolean or nil in the source."""

    value: Any


class Field(NamedTuple):
    """A path from the dot; () is the dot itself."""

    path: tuple[str, ...]


class Variable(NamedTuple):
    """A variable and a path from it. ``$`` is the value that the template is rendered for."""

    name: str
    path: tuple[str, ...]


class Function(NamedTuple):
    """A function's name; in a command's first place the rest are its arguments."""

    name: str


class Group(NamedTuple):
    """A pipeline in parentheses, and a path from its value."""

    pipeline: "Pipeline"
    path: tuple[str, ...]


Term = Literal | Field | Variable | Function | Group
Command = tuple[Term, ...]
Pipeline = tuple[Command, ...]


class Text(NamedTuple):
    """Literal text of a template."""

    text: str


class Action(NamedTuple):
    """A pipeline whose value is printed, or given to a variable: a new one if ``declares``."""

    pipeline: Pipeline
    variable: str = ""
    declares: bool = False


class Branch(NamedTuple):
    """An if, range or with block; ``variables`` are those of ``range $i, $x :=``."""

    kind: str
    pipeline: Pipeline
    body: "tuple[Node, ...]"
    otherwise: "tuple[Node, ...]" = ()
    variables: tuple[str, ...] = ()


Node = Text | Action | Branch
