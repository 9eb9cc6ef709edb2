"""Interpolation of a Compose file: variables in texts, and conversion of the result to the type of the key. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from compose.errors import ComposeFileError
from compose.nodes import ListNode, MappingNode, Node, ScalarNode, ScalarValue, child_path
from compose.variables import InvalidFormatError, RequiredVariableError, Substitute, TooLongError, Variables

PathPattern = tuple[str, ...]
Cast = str
"""``boolean``, ``integer`` or ``float``."""
MAX_TOTAL = 4 << 20
"""Characters of all substituted texts of a file."""
_TRUE = ("true", "y", "yes", "on")
_FALSE = ("false", "n", "no", "off")


class InterpolationRules(msgspec.Struct, frozen=True):
    """A dialect's rules.

    Attributes:
        substitute: the substitution in one text.
        casts: types by path pattern, where ``*`` stands for any key or index.
    """

    substitute: Substitute
    casts: Mapping[PathPattern, Cast]


def interpolate(root: MappingNode, variables: Variables, rules: InterpolationRules) -> MappingNode:
    """The file with all variables substituted. Keys are kept as they are.

    Raises:
        ComposeFileError: a text that is not a template, a required variable that is not set, or a result that is not of the key's type.
    """
    interpolator = _Interpolator(variables, rules)
    return root.with_items({key: interpolator.node(item, (key,)) for key, item in root.items.items()})


def cast_scalar(text: str, kind: Cast) -> ScalarValue:
    """The value of a substituted text.

    Raises:
        ValueError: the text is not of this type.
    """
    if kind == "boolean":
        lowered = text.lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
        raise ValueError(f"invalid boolean: {text}")
    return int(text) if kind == "integer" else float(text)


class _Interpolator:
    def __init__(self, variables: Variables, rules: InterpolationRules) -> None:
        self._variables = variables
        self._rules = rules
        self._length = 0
        self._lengths = {len(pattern) for pattern in rules.casts}

    def node(self, node: Node, path: tuple[str, ...]) -> Node:
        if isinstance(node, ScalarNode):
            return self._scalar(node, path) if isinstance(node.value, str) and "$" in node.value else node
        if isinstance(node, ListNode):
            items = tuple(self.node(item, (*path, str(index))) for index, item in enumerate(node.items))
            return ListNode(items, node.location, node.tag)
        return node.with_items({key: self.node(item, (*path, key)) for key, item in node.items.items()})

    def _scalar(self, node: ScalarNode, path: tuple[str, ...]) -> ScalarNode:
        shown = joined(path)
        try:
            text = self._rules.substitute(str(node.value), self._variables)
        except InvalidFormatError as error:
            reason = f'invalid interpolation format for {shown}: "{error}"; you may need to escape any $ with another $'
            raise ComposeFileError(reason, location=node.location) from error
        except RequiredVariableError as error:
            reason = f'invalid interpolation format for {shown}: "{error}"; you may need to escape any $ with another $'
            raise ComposeFileError(reason, location=node.location) from error
        except TooLongError as error:
            raise ComposeFileError(f"error while interpolating {shown}: {error}", location=node.location) from error
        self._length += len(text)
        if self._length > MAX_TOTAL:
            reason = f"error while interpolating {shown}: the texts of the file are longer than {MAX_TOTAL >> 20} MiB"
            raise ComposeFileError(reason, location=node.location)
        kind = self._cast(path)
        if kind is None:
            return msgspec.structs.replace(node, value=text, text=text)
        try:
            return msgspec.structs.replace(node, value=cast_scalar(text, kind), text=text)
        except ValueError as error:
            reason = f"error while interpolating {shown}: failed to cast to expected type: {error}"
            raise ComposeFileError(reason, location=node.location) from error

    def _cast(self, path: tuple[str, ...]) -> Cast | None:
        if len(path) not in self._lengths:
            return None
        return next((kind for pattern, kind in self._rules.casts.items() if matches(pattern, path)), None)


def matches(pattern: PathPattern, path: Sequence[str]) -> bool:
    """Whether a path is of a pattern."""
    return len(pattern) == len(path) and all(want in ("*", part) for want, part in zip(pattern, path, strict=True))


def joined(path: Sequence[str]) -> str:
    """The path as in ``services.web.ports.0``."""
    result = ""
    for part in path:
        result = child_path(result, part)
    return result
