"""The process that deploys a watched stack: real git, a recording engine, hostile files, and an end with its manager."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from covey.errors import CoveyError
from covey.objects import Annotations, WatchedStackSpec, replace
from manager.stack_watch.deployment import MODULE, StackDeployer
from manager.stack_watch.remote import newest_commit
from tests.support.git_daemon import GitRepository, served_repository
from tests.support.recording_engine import RecordingEngine, recording

SECONDS = 15.0
FILE = "services: {web: {image: 'i@sha256:%s', environment: {A: '${A:-none}', HOME: '${HOME:-none}'}}}\n" % ("0" * 64)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitRepository]:
    with served_repository(tmp_path_factory.mktemp("git")) as served:
        yield served


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RecordingEngine]:
    with recording(tmp_path) as made:
        made.answers.update({f"/{kind}": [] for kind in ("services", "networks", "secrets", "configs")})
        yield made


def spec(repo: GitRepository, **changes: Any) -> WatchedStackSpec:
    return replace(WatchedStackSpec(annotations=Annotations(name="shop"), url=repo.url), **changes)


def deploy(engine: RecordingEngine, watched: WatchedStackSpec) -> str:
    return asyncio.run(StackDeployer(engine.host)(watched))


def created(engine: RecordingEngine) -> dict[str, Any]:
    (found,) = [request.body for request in engine.requests if request.path == "/services/create"]
    return dict(found)


def test_the_newest_commit_is_found_and_deployed(repo: GitRepository, engine: RecordingEngine) -> None:
    repo.commit({"deploy/a.yaml": FILE})
    commit = repo.commit({"deploy/b.yaml": "services: {web: {labels: {tier: front}}}\n"})
    watched = spec(repo, ref="main", path="deploy", files=("a.yaml", "b.yaml"), environment={"A": "given"})
    assert asyncio.run(newest_commit(watched)) == commit
    assert deploy(engine, watched) == commit
    body = created(engine)
    assert body["Labels"]["covey.stack.commit"] == commit
    container = body["TaskTemplate"]["ContainerSpec"]
    assert container["Labels"]["tier"] == "front"
    assert container["Env"] == ["A=given", "HOME=none"], "the files see the manager's environment"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"compose.yaml": "services: {web: {image: [1]}}"}, "services.web.image"),
        ({"compose.yaml": "a: &a [1]\nb: &b [*a,*a,*a,*a]\n" * 3}, "compose.yaml"),
        ({"compose.yaml": "services: {web: {image: i, env_file: /etc/passwd}}"}, "/etc/passwd"),
        ({"compose.yaml": "services: {web: {image: i, volumes: ['./x:/x']}}"}, "mounts ./x of the repository"),
        ({"compose.yaml": "{a: " * 100_000}, "is nested deeper than 64"),
    ],
    ids=["wrong type", "no services", "file of the host", "folder of the repository", "deep"],
)
def test_a_file_that_cannot_be_deployed_is_told_and_changes_nothing(
    repo: GitRepository, engine: RecordingEngine, files: dict[str, str], reason: str
) -> None:
    repo.commit(files)
    with pytest.raises(CoveyError) as caught:
        deploy(engine, spec(repo))
    assert reason in caught.value.message
    assert all(request.method == "GET" for request in engine.requests)


def test_a_daemon_that_does_not_answer_is_told(repo: GitRepository, tmp_path: Path) -> None:
    repo.commit({"compose.yaml": FILE})
    with pytest.raises(CoveyError, match="no-daemon"):
        asyncio.run(StackDeployer(f"unix://{tmp_path}/no-daemon")(spec(repo)))


@contextlib.contextmanager
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """The URL of a git server that accepts a connection and says nothing, and an event that is set while it has one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connected, ended = threading.Event(), threading.Event()

        def accept() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connected.set()
                while connection.recv(4096):
                    pass
            ended.set()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"git://127.0.0.1:{listener.getsockname()[1]}/app", connected
        assert ended.wait(SECONDS), "git still holds its connection"


def test_the_process_and_git_end_with_the_manager(tmp_path: Path) -> None:
    """The manager is killed, so nobody ends the process: it sees the end of its input."""
    with silent_server() as (url, connected):
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-m", MODULE], env=environment, **pipes) as process:
            assert process.stdin
            try:
                process.stdin.write(json.dumps({"host": "unix:///x", "stack": "s", "url": url}).encode() + b"\n")
                process.stdin.flush()
                assert connected.wait(SECONDS), "git does not connect"
                process.stdin.close()
                assert process.wait(SECONDS) == 1
            finally:
                process.terminate()
    assert list(tmp_path.iterdir()) == [], "the checkout is left behind"


class _Refs(BaseHTTPRequestHandler):
    """The files of a repository that git reads without a protocol of its own, for those who know the password."""

    commit = "c" * 40

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == f"Basic {base64.b64encode(b'user:secret').decode()}"
        found = {"/app/info/refs": f"{self.commit}\trefs/heads/main\n", "/app/HEAD": "ref: refs/heads/main\n"}
        content = found.get(self.path.partition("?")[0], "").encode()
        self.send_response(200 if known and content else 404 if known else 401)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def guarded() -> Iterator[str]:
    """Address of a repository with a password."""
    with HTTPServer(("127.0.0.1", 0), _Refs) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_port}/app"
        server.shutdown()
        thread.join(SECONDS)


def commit_of(url: str) -> str:
    return asyncio.run(newest_commit(WatchedStackSpec(annotations=Annotations(name="s"), url=url, ref="main")))


def test_credentials_of_a_url_reach_its_server(guarded: str) -> None:
    assert commit_of(f"http://user:secret@{guarded}") == _Refs.commit
    with pytest.raises(CoveyError) as caught:
        commit_of(f"http://user:wrong@{guarded}")
    assert f"http://{guarded}" in caught.value.message
    assert "wrong" not in caught.value.message


def test_a_check_of_a_silent_server_ends_with_its_caller() -> None:
    async def cancelled(url: str, connected: threading.Event) -> None:
        watched = WatchedStackSpec(annotations=Annotations(name="s"), url=url)
        task = asyncio.create_task(newest_commit(watched))
        assert await asyncio.to_thread(connected.wait, SECONDS)
        began = time.monotonic()
        task.cancel()
        await asyncio.wait({task})
        assert time.monotonic() - began < 5

    with silent_server() as (url, connected):
        asyncio.run(cancelled(url, connected))
