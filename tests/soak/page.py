"""The page docs/soak.md with the figures of a soak. Pure, except ``environment``."""

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Sequence

import msgspec


class Part(msgspec.Struct):
    """One part of a soak. ``figures`` are shown in this order."""

    name: str
    figures: dict[str, str] = {}
    failures: list[str] = []
    seconds: float = 0.0


class Environment(msgspec.Struct, frozen=True):
    date: str
    commit: str
    machine: str


def environment() -> Environment:
    """Date, commit and machine of this run."""
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return Environment(
        date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=commit.stdout.strip() or "unknown",
        machine=f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
    )


def page(env: Environment, parts: Sequence[Part]) -> str:
    """The page in Markdown."""
    failures = [f"{part.name}: {failure}" for part in parts for failure in part.failures]
    lines = [
        "# The last soak",
        "",
        "*Written by `make soak`, which runs the fault tests of the managers with fresh seeds. How each part works: [proof](design/proof.md).*",
        "",
        f"{env.date}, commit `{env.commit}`, {env.machine}: {sum(part.seconds for part in parts) / 60:.0f} minutes, "
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
