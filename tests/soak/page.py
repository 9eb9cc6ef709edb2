"""The page docs/soak.md: what a soak did and found, as figures. Pure but for ``surroundings``."""

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Sequence

import msgspec


class Part(msgspec.Struct):
    """One part of a soak. ``figures`` are in the order in which they are shown."""

    name: str
    figures: dict[str, str] = {}
    failures: list[str] = []
    seconds: float = 0.0


class Surroundings(msgspec.Struct, frozen=True):
    date: str
    commit: str
    machine: str


def surroundings() -> Surroundings:
    """When, what and where."""
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return Surroundings(
        date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=commit.stdout.strip() or "unknown",
        machine=f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
    )


def page(about: Surroundings, parts: Sequence[Part]) -> str:
    """Markdown."""
    failures = [f"{part.name}: {failure}" for part in parts for failure in part.failures]
    lines = [
        "# The last soak",
        "",
        "*Written by `make soak`, which runs what proves the managers over fresh seeds for as long as it is given. How each part works: [proof](design/proof.md).*",
        "",
        f"{about.date}, commit `{about.commit}`, {about.machine}: {sum(part.seconds for part in parts) / 60:.0f} minutes, "
        + (f"**{len(failures)} failures**." if failures else "no failures."),
        "",
        "| part | figures |",
        "|---|---|",
    ]
    for part in parts:
        figures = "; ".join(f"{value} {name}" for name, value in part.figures.items())
        lines.append(f"| {part.name} ({part.seconds / 60:.1f} min) | {figures}; {len(part.failures)} failures |")
    if failures:
        lines += ["", "## Failures", ""]
        for failure in failures:
            lines += ["```", failure.strip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"
