"""Walks a page of ``docs/guides`` on one host of a lab, block by block.

A ``sh`` block runs; ``sh exit=N`` ends with that code, ``sh retry`` runs until it prints the ``text`` block after it. A ``text`` block
shows lines of what the block before it prints; … is any words. ``yaml file=NAME`` is written to a file.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
_BLOCK = re.compile(
    r"^```(?P<kind>sh|text|yaml)(?: (?P<retry>retry))?(?: exit=(?P<exit>\d))?(?: file=(?P<file>\S+))?\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def walk(guide: str, lab: LabCluster, folder: Path) -> None:
    """Runs every block of the page. Raises AssertionError if one does not do what the page says."""
    page = (GUIDES / guide).read_text().replace("busybox", IMAGE)
    blocks = list(_BLOCK.finditer(page))
    assert len(blocks) * 2 == page.count("```"), "every block is run"
    environment = lab.environment()
    environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"

    def shows(block: re.Match[str], lines: list[str]) -> bool:
        done = labs.run(["sh", "-ec", block["body"]], env=environment, cwd=folder, check=int(block["exit"] or 0))
        said.append(done.out + done.err)
        return all(re.search(_pattern(line), said[-1]) for line in lines)

    said: list[str] = []
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        lines = after["body"].splitlines() if after is not None and after["kind"] == "text" else []
        if block["kind"] == "yaml":
            (folder / block["file"]).write_text(block["body"])
        elif block["kind"] == "sh" and block["retry"]:
            try:
                labs.wait(lambda block=block, lines=lines: shows(block, lines), block["body"])
            except AssertionError as error:
                raise AssertionError(f"{error}\n{said[-1]}\n{lines}") from None
        elif block["kind"] == "sh":
            assert shows(block, lines), (block["body"], said[-1], lines)


def _pattern(line: str) -> str:
    """A shown line as a regular expression: columns may be wider, and … stands for any words."""
    return r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split())
