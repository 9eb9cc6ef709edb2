"""Lines of several containers' logs with their prefixes and colours. Pure."""

from collections.abc import Iterable

_COLORS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


def prefixes(names: Iterable[str], *, colored: bool, shown: bool = True) -> dict[str, bytes]:
    """The prefix of each container's lines, of one width."""
    listed = list(names)
    width = max((len(name) for name in listed), default=0)
    result = {}
    for position, name in enumerate(listed):
        text = f"{name.ljust(width)}  | " if shown else ""
        color = _COLORS[position % len(_COLORS)]
        result[name] = (f"\x1b[{color}m{text}\x1b[0m" if colored and text else text).encode()
    return result


def short_names(project: str, names: Iterable[str]) -> dict[str, str]:
    """Names of containers without the name of their project, as prefixes show them."""
    return {name: name.removeprefix(f"{project}-") for name in names}


class LineBuffer:
    """Cuts output into whole lines, each with a prefix. A line longer than the limit is written in pieces."""

    LIMIT = 1 << 20

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._rest: dict[int, bytes] = {}

    def add(self, stream: int, data: bytes) -> bytes:
        """The whole lines that are complete now."""
        *lines, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        if len(rest) > self.LIMIT:
            lines, rest = [*lines, rest], b""
        self._rest[stream] = rest
        return b"".join(b"%s%s\n" % (self._prefix, line) for line in lines)

    def end(self) -> bytes:
        """What is left, as a last line."""
        return b"".join(b"%s%s\n" % (self._prefix, rest) for rest in self._rest.values() if rest)
