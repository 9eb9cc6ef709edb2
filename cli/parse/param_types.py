"""Click parameter types of durations, byte sizes, CPU counts and whole numbers."""

from collections.abc import Callable
from typing import Any

import click

from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes, parse_cpus, parse_duration


class ParsedParam(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A parameter type made of a parser. A value that does not parse is a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InvalidArgumentError as error:
            self.fail(error.message, param, ctx)


DURATION, BYTES, CPUS = (
    ParsedParam("duration", parse_duration),
    ParsedParam("bytes", parse_bytes),
    ParsedParam("decimal", parse_cpus),
)
COUNT = click.IntRange(0)
