"""Output of any length is read in bounded memory: an endless line must not stop the manager."""

import asyncio
import sys

import pytest

from node.line_splitter import MAX_LINE_BYTES, TRUNCATED_SUFFIX, LineSplitter, read_lines


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_do_not_depend_on_the_size_of_chunks(size: int) -> None:
    data, lines, found = b"one\n\n\ntwo \nthree", LineSplitter(), []
    for start in range(0, len(data), size):
        found += lines.feed(data[start : start + size])
    assert found + lines.flush() == [b"one", b"", b"", b"two ", b"three"]
    assert lines.flush() == []


def test_a_long_line_is_truncated_and_the_next_is_complete() -> None:
    lines = LineSplitter()
    assert lines.feed(b"a" * MAX_LINE_BYTES) == []
    assert lines.feed(b"b" * MAX_LINE_BYTES) == []
    assert lines.feed(b"c\nready\n") == [b"a" * MAX_LINE_BYTES + TRUNCATED_SUFFIX, b"ready"]


async def test_a_process_that_writes_a_huge_line_is_read_to_its_end() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print('x' * 1_000_000); print('ready')", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        found = [line async for line in read_lines(process.stdout)]
        await process.wait()
    assert [len(found[0]), found[1]] == [MAX_LINE_BYTES + len(TRUNCATED_SUFFIX), b"ready"]
