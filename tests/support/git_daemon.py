"""A Git repository, served by the real ``git daemon`` on the loopback address."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
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
def served_repository(base: Path) -> Iterator[GitRepository]:
    """An empty repository below a directory, on branch main."""
    port = free_port()
    repository = GitRepository(base / "app", f"git://127.0.0.1:{port}/app")
    repository.folder.mkdir(parents=True)
    repository.git("init", "--quiet", "--initial-branch=main")
    options = ["--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", f"--base-path={base}"]
    daemon = subprocess.Popen(["git", "daemon", *options], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            assert daemon.poll() is None, "git daemon ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < deadline, "git daemon does not answer"
            time.sleep(0.02)
        yield repository
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
