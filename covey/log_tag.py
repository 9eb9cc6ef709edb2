"""Tag of a container's log: the subset of Go's templates that tags use, such as ``{{.ImageName}}/{{.Name}}``. Pure.

An action names a field, optionally with functions before it or behind it (``{{upper .Name}}``, ``{{.ID | truncate 4}}``), or
looks up a label (``{{index .ContainerLabels "app"}}``).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from covey.errors import InvalidArgumentError

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\||[^\s|"]+')
_SHORT = 12
_FIELDS = frozenset(
    {"ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName", "Command", "Hostname"}
    | {"ContainerID", "ContainerName", "ContainerImageID", "ContainerImageName", "ContainerEntrypoint"}
)
_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "println": lambda text: text + "\n",
    "print": str,
    "json": json.dumps,
}


class TagSource(NamedTuple):
    """The container that a tag describes; ids are complete, `image_id` with its ``sha256:``."""

    container_id: str
    name: str
    image_id: str
    image: str
    command: Sequence[str]
    hostname: str
    labels: Mapping[str, str]

    def field(self, name: str) -> str:
        image_id = self.image_id.removeprefix("sha256:")
        return {
            "ID": self.container_id[:_SHORT],
            "FullID": self.container_id,
            "ContainerID": self.container_id,
            "Name": self.name,
            "ContainerName": f"/{self.name}",
            "ImageID": image_id[:_SHORT],
            "ImageFullID": self.image_id,
            "ContainerImageID": self.image_id,
            "ImageName": self.image,
            "ContainerImageName": self.image,
            "DaemonName": "docker",
            "Command": " ".join(self.command),
            "ContainerEntrypoint": self.command[0] if self.command else "",
            "Hostname": self.hostname,
        }[name]


class _Action(NamedTuple):
    """A field, or a label, and the functions that it passes through."""

    field: str
    label: str
    functions: tuple[tuple[str, int], ...]

    def expand(self, source: TagSource) -> str:
        text = source.labels.get(self.label, "") if self.field == "ContainerLabels" else source.field(self.field)
        for name, number in self.functions:
            text = text[:number] if name == "truncate" else _FUNCTIONS[name](text)
        return text


class LogTag(NamedTuple):
    """A parsed tag: text and actions in turn."""

    parts: tuple[str | _Action, ...]

    @classmethod
    def parse(cls, template: str) -> "LogTag":
        """Raises InvalidArgumentError, in Go's words where it would fail too."""
        parts: list[str | _Action] = []
        position = 0
        for found in _ACTION.finditer(template):
            parts += [template[position : found.start()], _action(found[1])]
            position = found.end()
        rest = template[position:]
        if "{{" in rest:
            raise InvalidArgumentError("template: log-tag:1: unclosed action")
        return cls((*parts, rest))

    def expand(self, source: TagSource) -> str:
        """The tag of one container."""
        return "".join(part if isinstance(part, str) else part.expand(source) for part in self.parts)


def _action(text: str) -> _Action:
    words = _WORD.findall(text.strip().removeprefix("- ").removesuffix(" -"))
    pipes: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            pipes.append([])
        else:
            pipes[-1].append(word)
    if not all(pipes):
        raise InvalidArgumentError("template: log-tag:1: missing value for command")
    field, label, functions = _operand(pipes[0])
    for words in pipes[1:]:
        functions.append(_function(words))
    return _Action(field, label, tuple(functions))


def _operand(words: list[str]) -> tuple[str, str, list[tuple[str, int]]]:
    """Field, label and functions of ``.Name``, ``upper .Name``, ``truncate .Name 4`` or ``index .ContainerLabels "key"``."""
    if words[0] == "index" and len(words) == 3 and words[1] == ".ContainerLabels" and words[2].startswith('"'):
        return "ContainerLabels", str(json.loads(words[2])), []
    if words[0].startswith(".") and len(words) == 1:
        return _field(words[0]), "", []
    if len(words) >= 2 and words[1].startswith("."):
        return _field(words[1]), "", [_function([words[0], *words[2:]])]
    _function(words)
    raise InvalidArgumentError(f"template: log-tag:1: {words[0]} needs a field, such as {{{{{words[0]} .Name}}}}")


def _field(word: str) -> str:
    name = word[1:]
    if name not in _FIELDS:
        column = f'template: log-tag:1:2: executing "log-tag" at <.{name}>'
        raise InvalidArgumentError(f"{column}: can't evaluate field {name} in type *logger.Info")
    return name


def _function(words: list[str]) -> tuple[str, int]:
    name = words[0]
    if name == "truncate" and len(words) == 2 and words[1].isdecimal():
        return name, int(words[1])
    if name in _FUNCTIONS and len(words) == 1:
        return name, 0
    raise InvalidArgumentError(
        f'template: log-tag:1: function "{name}" not defined: use a field with lower, upper, title, json or truncate N'
    )
