"""A Git repository, served by the real ``git daemon`` on the loopback address."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

SECONDS = 15.0
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class GitRepository:
    """A repository with its URL. Files are written below ``folder`` and committed."""

    folder: Path
    url: str

    def commit(self, files: Mapping[str, str]) -> str:
        """Write files, commit everything in the folder, and return the commit."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        environment = {**os.environ, **_AUTHOR}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=SECONDS)
        return done.stdout


@contextlib.contextmanager
def served_repository(base: Path, address: str = "127.0.0.1", *, inside: Sequence[str] = ()) -> Iterator[GitRepository]:
    """An empty repository below a directory, on branch main. ``inside`` is a command that enters a network namespace."""
    port = free_port()
    repository = GitRepository(base / "app", f"git://{address}:{port}/app")
    repository.folder.mkdir(parents=True)
    repository.git("init", "--quiet", "--initial-branch=main")
    options = ["--export-all", "--reuseaddr", f"--listen={address}", f"--port={port}", f"--base-path={base}"]
    daemon = subprocess.Popen([*inside, "git", "daemon", *options], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            assert daemon.poll() is None, "git daemon ended"
            asked = [*inside, "git", "ls-remote", repository.url]
            if subprocess.run(asked, capture_output=True, check=False, timeout=SECONDS).returncode == 0:
                break
            assert time.monotonic() < deadline, "git daemon does not answer"
            time.sleep(0.02)
        yield repository
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
