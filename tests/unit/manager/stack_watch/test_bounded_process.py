"""Child processes with bounds: deadline, memory, files, and an end with the caller."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from covey.errors import DeadlineError, UnavailableError
from manager.stack_watch.bounded_process import Finished, Limits, run_bounded

LIMITS = Limits(seconds=10, memory_bytes=512 << 20, file_bytes=1 << 20)
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def run(code: str, limits: Limits = LIMITS, stdin: bytes = b"") -> Finished:
    return asyncio.run(run_bounded((sys.executable, "-c", code), ENVIRONMENT, limits, stdin))


def test_a_process_gets_its_input_and_nothing_of_the_environment() -> None:
    code = "import os, sys; print(sys.stdin.readline().strip(), sorted(os.environ)); sys.stderr.write('e'); sys.exit(3)"
    done = run(code, stdin=b"order\n")
    assert (done.code, done.errors) == (3, "e")
    assert done.output.startswith("order ")
    assert "HOME" not in done.output


def test_more_memory_than_allowed_is_refused() -> None:
    assert "MemoryError" in run("x = bytearray(1 << 30)").errors


def test_more_output_than_allowed_ends_the_process(tmp_path: Path) -> None:
    done = run("import sys\nwhile True: sys.stdout.write('x' * 4096)")
    assert done.code != 0
    assert len(done.output) <= 64 * 1024


def test_a_deadline_ends_the_process_though_it_ignores_term() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(DeadlineError, match=r"did not end within 0\.3 s"):
        run(code, Limits(seconds=0.3, memory_bytes=512 << 20, file_bytes=1 << 20))
    assert time.monotonic() - began < 10


def test_a_cancelled_caller_ends_the_process_and_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; child = subprocess.Popen(['sleep', '60']); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(f'{{child.pid}}\\n'); time.sleep(60)"
    )

    async def cancelled() -> int:
        task = asyncio.create_task(run_bounded((sys.executable, "-c", code), ENVIRONMENT, LIMITS))
        async with asyncio.timeout(10):
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int((tmp_path / "pid").read_text())

    child = asyncio.run(cancelled())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < deadline, "a child of the ended process goes on"


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(UnavailableError, match="no-such-program is not installed on this manager: install it on every"):
        asyncio.run(run_bounded(("no-such-program",), ENVIRONMENT, LIMITS))
