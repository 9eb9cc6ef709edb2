"""Generic resources: what an operator says that a node has beside CPU and memory, such as GPUs by name or licenses by number. Pure.

In ``Resources`` discrete ones are numbers by kind, named ones ``KIND=NAME``. On a node a kind is one or the other.
"""

from collections.abc import Iterable, Sequence

from covey.errors import InvalidArgumentError
from covey.objects.node import Resources

MAX_ENTRIES = 1000
_MAX_COUNT = (1 << 63) - 1
_PREFIX = "DOCKER_RESOURCE"


def parse(name: str, entries: Sequence[str]) -> Resources:
    """The resources of entries ``KIND=NUMBER`` and ``KIND=NAME``; a kind with several entries has names.

    Raises:
        InvalidArgumentError: names the option ``name`` and the entry.
    """
    if len(entries) > MAX_ENTRIES:
        raise InvalidArgumentError(f"{name}: {len(entries)} entries are over the limit of {MAX_ENTRIES}")
    values: dict[str, list[str]] = {}
    for entry in entries:
        kind, equals, value = (part.strip() for part in entry.partition("="))
        if not (equals and kind and value) or "=" in value or "," in entry or any(map(str.isspace, kind + value)):
            raise InvalidArgumentError(
                f"{name}: could not parse GenericResource: {entry!r} is not KIND=NUMBER or KIND=NAME"
            )
        if value in values.setdefault(kind, []):
            raise InvalidArgumentError(f"{name}: {entry} is given twice")
        values[kind].append(value)
    generic: dict[str, int] = {}
    named: list[str] = []
    for kind, given in values.items():
        numbers = [value for value in given if _is_number(value)]
        if numbers and len(given) > 1:
            raise InvalidArgumentError(f"{name}: {kind} has several entries and a number: give one number, or names")
        if numbers:
            generic[kind] = _count(name, kind, numbers[0])
        else:
            named += [f"{kind}={value}" for value in given]
    return Resources(generic=generic, named_generic=tuple(named))


def environment(claimed: Resources | None) -> tuple[str, ...]:
    """The variables that tell a container what its task holds: ``DOCKER_RESOURCE_KIND`` with the number, or names with commas between."""
    if claimed is None:
        return ()
    values = {kind: str(number) for kind, number in sorted(claimed.generic.items())}
    for kind in dict.fromkeys(kind_of(item) for item in claimed.named_generic):
        values[kind] = ",".join(names_of(kind, claimed.named_generic))
    return tuple(f"{_PREFIX}_{kind}".upper() + f"={value}" for kind, value in values.items())


def kind_of(named: str) -> str:
    return named.partition("=")[0]


def names_of(kind: str, named: Iterable[str]) -> list[str]:
    """The names of a kind."""
    return [item.partition("=")[2] for item in named if kind_of(item) == kind]


def _is_number(value: str) -> bool:
    return value.removeprefix("-").removeprefix("+").isdecimal()


def _count(name: str, kind: str, value: str) -> int:
    number = int(value) if value.isascii() and len(value) < len(str(_MAX_COUNT)) + 1 else -1
    if not 0 <= number <= _MAX_COUNT:
        raise InvalidArgumentError(f"{name}: {kind}={value} is not a number from 0 to {_MAX_COUNT}")
    return number
