"""Versions of the programs that run containers on this host, for ``docker version`` and ``docker info``. Read once, at the start."""

import asyncio
import contextlib
import re
from collections.abc import Mapping

import msgspec

DEADLINE_SECONDS = 5.0
_COMMANDS = {
    "runc": ("runc", "--version"),
    "conmon": ("conmon", "--version"),
    "tini": ("tini", "--version"),
}
_VERSION = re.compile(r"version:?\s+v?([0-9][^\s,]*)")
_COMMIT = re.compile(r"(?:commit:?\s+|git\.)([0-9A-Za-z.+~-]+)")


class ProgramVersion(msgspec.Struct, frozen=True):
    """``commit`` is empty where the program does not say it."""

    version: str
    commit: str = ""


async def read_programs() -> dict[str, ProgramVersion]:
    """The versions of the programs that answer within 5 s."""
    names = list(_COMMANDS)
    answers = await asyncio.gather(*(_ask(_COMMANDS[name]) for name in names))
    found = {name: parse_version(answer) for name, answer in zip(names, answers, strict=True)}
    return {name: version for name, version in found.items() if version is not None}


def parse_version(text: str) -> ProgramVersion | None:
    """The version in the output of ``--version``; None if there is none."""
    version, commit = _VERSION.search(text), _COMMIT.search(text)
    return ProgramVersion(version[1], commit[1] if commit else "") if version else None


def components(programs: Mapping[str, ProgramVersion]) -> list[dict[str, object]]:
    """The programs as components of ``docker version``."""
    return [
        {"Name": name, "Version": program.version, "Details": {"GitCommit": program.commit}}
        for name, program in programs.items()
    ]


async def _ask(command: tuple[str, ...]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, _ = await process.communicate()
        return out.decode(errors="replace")
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
