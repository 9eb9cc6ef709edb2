"""Builds that need others: base images and caches from a registry, files by HTTP, contexts by HTTP and Git, on the lab's network."""

from __future__ import annotations

import http.client
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab.layout import GATEWAY
from tests.support import labs
from tests.support.git_daemon import GitRepository, served_repository
from tests.support.lab_registry import REGISTRY, running_lab_with_registry
from tests.support.labs import IMAGE, CommandResult, LabCluster, unique

pytestmark = pytest.mark.root

FILES_PORT = 8000
FILES = f"http://{GATEWAY}:{FILES_PORT}"
SERVER = f"""
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("{GATEWAY}", {FILES_PORT}), handler)
print("serves", flush=True)
import threading
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def lab(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    folder = tmp_path_factory.mktemp("registry")
    with running_lab_with_registry("bldnet", 1, 0, folder, init_cluster=False, archive=images) as running:
        yield running


@pytest.fixture(scope="module")
def served(lab: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a web server outside the host."""
    folder = tmp_path_factory.mktemp("served")
    command = ["ip", "netns", "exec", lab.lab.switch, labs.PYTHON_BIN / "python", "-c", SERVER, str(folder)]
    with labs.serving(command):
        yield folder


@pytest.fixture(scope="module")
def repository(lab: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitRepository]:
    base = tmp_path_factory.mktemp("git")
    with served_repository(base, GATEWAY, inside=("ip", "netns", "exec", lab.lab.switch)) as found:
        found.commit({"app/Dockerfile": f"FROM {IMAGE}\nCOPY word /word\n", "app/word": "from git\n"})
        yield found


def dockerfile(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(text)
    return folder


def build(lab: LabCluster, context: str | Path, *options: str, check: int | None = 0) -> CommandResult:
    return lab.docker("build", *options, str(context), check=check)


def covey(lab: LabCluster, *arguments: str, check: int | None = 0) -> CommandResult:
    return labs.run([labs.PYTHON_BIN / "covey", *arguments], check=check, env=lab.environment())


def read(lab: LabCluster, image: str, *paths: str) -> str:
    return lab.docker("run", "--rm", "--network", "none", image, "cat", *paths).out


def push(lab: LabCluster, folder: Path, name: str, word: str) -> None:
    """Put an image with this word in /word into the registry, and on no host."""
    build(lab, dockerfile(folder, f"FROM {IMAGE}\nRUN echo {word} > /word\n"), "-q", "-t", name)
    lab.docker("push", "-q", name)
    lab.docker("rmi", name)


def test_a_base_image_is_pulled_once_unless_the_client_asks(lab: LabCluster, tmp_path: Path) -> None:
    base, name = f"{REGISTRY}/{unique('base')}:1", unique("app")
    push(lab, tmp_path / "base", base, "old")
    folder = dockerfile(
        tmp_path / "app", f"FROM {base} AS one\nFROM {base}\nCOPY --from={base} /word /a\nCOPY --from=one /word /b\n"
    )
    build(lab, folder, "-t", name)
    assert read(lab, name, "/a", "/b") == "old\nold\n"
    lab.docker("rmi", name, base)
    push(lab, tmp_path / "base", base, "new")
    build(lab, folder, "-t", name)
    assert read(lab, name, "/a", "/b") == "new\nnew\n"

    # the host's image stays until --pull asks for the registry's
    build(lab, dockerfile(tmp_path / "base", f"FROM {IMAGE}\nRUN echo local > /word\n"), "-q", "-t", base)
    build(lab, folder, "-t", name)
    assert read(lab, name, "/a", "/b") == "local\nlocal\n"
    build(lab, folder, "-t", name, "--pull")
    assert read(lab, name, "/a", "/b") == "new\nnew\n"


def test_a_base_image_that_nobody_has_is_named(lab: LabCluster, tmp_path: Path) -> None:
    missing = f"{REGISTRY}/nothing:1"
    refused = build(lab, dockerfile(tmp_path, f"FROM {missing}\n"), check=None)
    assert refused.code
    assert f"manifest for {missing} not found" in refused.err


def test_an_image_named_by_cache_from_is_used_where_a_step_ends_in_it(lab: LabCluster, tmp_path: Path) -> None:
    """1. An image is built and pushed; the host forgets it. 2. With the pulled image as cache nothing is run again. 3. Without, it is."""
    name = f"{REGISTRY}/{unique('cached')}:1"
    folder = dockerfile(tmp_path, f"FROM {IMAGE}\nRUN cat /proc/sys/kernel/random/uuid > /stamp\n")
    build(lab, folder, "-t", name)
    stamp = read(lab, name, "/stamp")
    lab.docker("push", "-q", name)

    def forget() -> None:
        lab.docker("rmi", "-f", name)
        lab.docker("builder", "prune", "--all", "--force")

    forget()
    lab.docker("pull", "-q", name)
    built = build(lab, folder, "-t", "again", "--cache-from", f"{name},{REGISTRY}/nothing:1")
    assert "Using cache" in built.out
    assert "[Warning] --cache-from" in built.out
    assert read(lab, "again", "/stamp") == stamp
    lab.docker("rmi", "-f", "again")
    forget()
    build(lab, folder, "-t", "again")
    assert read(lab, "again", "/stamp") != stamp


def test_a_file_is_added_from_a_web_server_and_its_change_is_noticed(
    lab: LabCluster, served: Path, tmp_path: Path
) -> None:
    (served / "file").write_text("one\n")
    folder = dockerfile(tmp_path, f"FROM {IMAGE}\nADD {FILES}/file /got/\nADD --chmod=644 {FILES}/file /named\n")
    name = unique("added")
    build(lab, folder, "-t", name)
    assert read(lab, name, "/got/file", "/named") == "one\none\n"
    modes = lab.docker("run", "--rm", name, "stat", "-c", "%a %u", "/got/file", "/named").out
    assert modes == "600 0\n644 0\n"
    (served / "file").write_text("another\n")
    build(lab, folder, "-t", name)
    assert read(lab, name, "/got/file", "/named") == "another\nanother\n"
    refused = build(lab, dockerfile(tmp_path, f"FROM {IMAGE}\nADD {FILES}/missing /x\n"), check=None)
    assert refused.code
    assert "missing" in refused.err


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def build_outside(lab: LabCluster, program: str, context: str, name: str) -> None:
    """Build with a client on the lab's network: docker's fetches a remote context itself."""
    environment = lab.environment()
    environment["PATH"] = f"{labs.PYTHON_BIN}:{environment['PATH']}"
    lab.outside(program, "build", "-t", name, context, env=environment)


@pytest.mark.parametrize("program", ["docker", "covey"])
def test_a_context_is_an_archive_or_a_dockerfile_of_a_web_server(lab: LabCluster, served: Path, program: str) -> None:
    packed = archive({"Dockerfile": f"FROM {IMAGE}\nCOPY word /word\n", "word": "from the web\n"})
    (served / "context.tar.gz").write_bytes(packed)
    (served / "Plainfile").write_text(f"FROM {IMAGE}\nRUN echo plain > /word\n")
    name = unique("remote")
    build_outside(lab, program, f"{FILES}/context.tar.gz", name)
    assert read(lab, name, "/word") == "from the web\n"
    build_outside(lab, program, f"{FILES}/Plainfile", name)
    assert read(lab, name, "/word") == "plain\n"


def test_docker_builds_from_git_and_the_daemon_refuses_it_by_name(lab: LabCluster, repository: GitRepository) -> None:
    """The docker client clones a repository itself; what is left for the daemon is not supported."""
    context = f"{repository.url}#main:app"
    name = unique("git")
    build_outside(lab, "docker", context, name)
    assert read(lab, name, "/word") == "from git\n"
    refused = covey(lab, "build", context, check=None)
    assert refused.code
    assert "not supported for Git repositories" in refused.err
    status, answer = lab.request("POST", f"/build?remote={repository.url}%23main:app")
    assert (status, "not supported for Git repositories" in str(answer)) == (http.client.NOT_IMPLEMENTED, True)
