"""Environment files: ``KEY=VALUE`` lines without quotes or substitution, as ``docker run`` and ``docker stack`` read them. Pure."""

from collections.abc import Mapping

from covey.errors import InvalidArgumentError


def parse_env_file(text: str, environment: Mapping[str, str], *, keep_bare: bool = False) -> dict[str, str | None]:
    """The variables of an environment file. A name without a value takes its value from ``environment``, or is left out; ``keep_bare``
    keeps it, as in files of labels.

    Raises:
        InvalidArgumentError: a line without a name.
    """
    result: dict[str, str | None] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        line = line.lstrip()  # noqa: PLW2901
        if not line or line.startswith("#"):
            continue
        key, separator, value = line.partition("=")
        if not key or any(character.isspace() for character in key.rstrip()):
            raise InvalidArgumentError(f"invalid line in an environment file: {line!r}; write KEY=VALUE")
        if separator:
            result[key] = value
        elif key.strip() in environment:
            result[key.strip()] = environment[key.strip()]
        elif keep_bare:
            result[key.strip()] = None
    return result
