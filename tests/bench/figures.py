"""Figures of a benchmark with their targets, and the table that shows them. Pure."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec


class Target(msgspec.Struct, frozen=True):
    """Bound of every round: at most ``bound``, or at least ``bound`` with ``at_least``. With ``worst``, ``bound`` applies to the median and
    ``worst`` to every round.
    """

    bound: float
    at_least: bool = False
    worst: float | None = None

    def keeps(self, value: float, *, worst: bool = False) -> bool:
        bound = self.worst if worst and self.worst is not None else self.bound
        return value >= bound if self.at_least else value <= bound


class Figure(msgspec.Struct, frozen=True):
    """One figure, measured ``len(values)`` times. ``swarm`` is Docker Swarm's figure, measured once on a similar machine."""

    name: str
    unit: str
    values: tuple[float, ...]
    target: Target | None = None
    swarm: str = ""
    worst_is_least: bool = False
    """For rates and ratios without a target."""
    peer: tuple[float, ...] = ()
    """Docker Swarm's values of the same run."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        least = self.target.at_least if self.target else self.worst_is_least
        return min(self.values) if least else max(self.values)

    @property
    def verdict(self) -> str:
        """``met`` if the worst round keeps the target, ``met, median`` if only the median does, else ``MISSED``."""
        if self.target is None:
            return ""
        if not self.target.keeps(self.median):
            return "MISSED"
        return "met" if self.target.keeps(self.worst, worst=True) else "met, median"


HEAD = ("figure", "target", "median", "worst", "n", "", "Docker Swarm*", "Swarm, this run")


def with_peer(figures: Iterable[Figure], peers: Iterable[Figure]) -> list[Figure]:
    """Add to each figure the peer's values of the same name."""
    found = {peer.name: peer.values for peer in peers}
    return [msgspec.structs.replace(figure, peer=found.get(figure.name, ())) for figure in figures]


def with_ratio(figures: Sequence[Figure], name: str, target: Target) -> list[Figure]:
    """Add the ratio of a figure's median to the peer's, if the peer has it. Their labs run one after the other, so rounds make no pairs."""
    found = next((figure for figure in figures if figure.name == name and figure.peer), None)
    if found is None:
        return list(figures)
    ratio = found.median / statistics.median(found.peer)
    return [*figures, Figure(f"{name}, Covey / Docker, of the medians", "", (ratio,), target)]


def ratio_of(name: str, bound: float, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """The ratio of the medians of two series of seconds, with both in its name; at most ``bound`` meets the target."""
    own, other = statistics.median(ours), statistics.median(theirs)
    return Figure(f"{name} ({own:.2f} s : {other:.2f} s)", "", (own / other,), Target(bound))


def rows(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """Cells of the table."""
    return [
        (
            figure.name,
            _bound(figure),
            _number(figure.median, figure.unit),
            _number(figure.worst, figure.unit),
            str(len(figure.values)),
            figure.verdict,
            figure.swarm,
            _number(statistics.median(figure.peer), figure.unit) if figure.peer else "",
        )
        for figure in figures
    ]


def table(figures: Iterable[Figure]) -> str:
    """Table as aligned text: words to the left, numbers to the right."""
    cells = [HEAD, *rows(figures)]
    if not any(row[-1] for row in cells[1:]):
        cells = [row[:-1] for row in cells]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [_line(row, widths) for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = {1, 2, 3, 4}
    return "  ".join(
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()


def _bound(figure: Figure) -> str:
    if figure.target is None:
        return ""
    sign, worst = "≥" if figure.target.at_least else "≤", figure.target.worst
    bound = f"{sign} {_number(figure.target.bound, figure.unit)}"
    return bound if worst is None else f"{bound}, {_number(worst, figure.unit)}"


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{text} {unit}".strip()
