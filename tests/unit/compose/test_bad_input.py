"""Hostile Compose files: each is refused by both dialects within two seconds of work, with the place of the fault, and without waiting."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.stack.loader import check_stack
from compose.project.files import ProjectFiles
from compose.project.loader import load_project
from compose.project.model import ProjectOptions
from covey.errors import CoveyError

SERVICE = "services:\n  a:\n    image: i\n"
LIMIT_SECONDS = 2
BY_STACK, BY_COMPOSE = "docker stack", "Compose"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with files that no text can be read from; a reader that waits is stopped by a signal."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "huge").write_text("A=b\n" * 300_000)
    (tmp_path / "binary").write_bytes(bytes(range(255, 127, -1)))
    (tmp_path / "doubling").write_text("A=xxxxxxxxxx\n" + "A=$A$A\n" * 60)

    def stop(*_: object) -> None:
        raise AssertionError("the reader waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refusal(folder: Path, text: str | bytes, dialect: str = BY_STACK) -> str:
    """The error of a file, with the folder left out; empty if it loads."""
    path = folder / "compose.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    readers: dict[str, Callable[[], object]] = {
        BY_STACK: lambda: check_stack("s", (str(path),), {"HOME": "/root"}),
        BY_COMPOSE: lambda: load_project(
            ProjectOptions(files=(str(path),), environment={"HOME": "/root"}), ProjectFiles(folder)
        ),
    }
    started = time.process_time()
    try:
        readers[dialect]()
    except CoveyError as error:
        assert time.process_time() - started < LIMIT_SECONDS
        return error.message.replace(f"{folder}/", "")
    assert time.process_time() - started < LIMIT_SECONDS
    return ""


both = pytest.mark.parametrize("dialect", [BY_STACK, BY_COMPOSE])


@both
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"services:\n  a:\n    image: \xe9\n", "compose.yaml:3:12: is not UTF-8 text"),
        (SERVICE.encode("utf-32"), "compose.yaml:1:1: is not UTF-8 text"),
        (b"services:\n  a: \0\n", "compose.yaml:2:6: not YAML: control characters are not allowed"),
        (b"a" * (11 << 20), "compose.yaml is larger than 1 MiB"),
        ("", "compose.yaml:1:1: empty compose file"),
        ("5", "compose.yaml:1:1: top-level object must be a mapping"),
        (f"{SERVICE}    image: j\n", 'compose.yaml:4:5: mapping key "image" already defined at line 3'),
        ("services:\n\ta:\n", "compose.yaml:2:1: found character that cannot start any token"),
        (f"{SERVICE}    foo: 1\n", "compose.yaml:4:5: services.a Additional property foo is not allowed"),
        (f"{SERVICE}foo: 1\n", "compose.yaml:4:1: (root) Additional property foo is not allowed"),
        (f"{SERVICE}x-a: " + "[" * 400_000, "compose.yaml:4:70: "),
        (f"{SERVICE}    user: '" + "${A:-" * 100_000 + "'", "compose.yaml:4:11: "),
        (f"{SERVICE}    ports: ['1-65535:1-65535']\n", "compose.yaml:4:13: services.a.ports.0: more than 32768 ports"),
        (f"{SERVICE}    deploy: {{replicas: .inf}}\n", "compose.yaml:4:24: services.a.deploy.replicas must be a"),
        (f"{SERVICE}    deploy: {{replicas: {'9' * 5000}}}\n", "compose.yaml:4:24: "),
        (f"{SERVICE}    deploy: {{replicas: 99999999999999999999}}\n", "compose.yaml:4:24: "),
        (f"{SERVICE}    deploy: {{replicas: 0x{'f' * 50_000}}}\n", "compose.yaml:4:24: "),
        (f"{SERVICE}    deploy: {{update_config: {{max_failure_ratio: .nan}}}}\n", "compose.yaml:4:49: "),
        (f"{SERVICE}    stop_grace_period: {'9' * 400}h\n", "compose.yaml:4:24: "),
        (f"{SERVICE}    stop_grace_period: {'1h' * 50_000}\n", "compose.yaml:4:24: "),
        (f"{SERVICE}    stop_grace_period: {'1' * 50_000}\n", "compose.yaml:4:24: "),
        (f"{SERVICE}    stop_grace_period: 9999999999999h\n", "compose.yaml:4:24: "),
        (f"{SERVICE}    deploy: {{resources: {{limits: {{memory: '{'9' * 5000}g'}}}}}}\n", "compose.yaml:4:43: "),
        (f"{SERVICE}    ulimits: {{nofile: 99999999999999999999999}}\n", "compose.yaml:4:23: "),
        (f"{SERVICE}    env_file: lost\n", "compose.yaml:4:15: "),
        (f"{SERVICE}    env_file: directory\n", "compose.yaml:4:15: "),
        (f"{SERVICE}    env_file: fifo\n", "compose.yaml:4:15: "),
        (f"{SERVICE}    env_file: loop\n", "compose.yaml:4:15: "),
        (f"{SERVICE}    env_file: huge\n", "compose.yaml:4:15: "),
        (f"{SERVICE}    env_file: binary\n", "compose.yaml:4:15: "),
        (f"{SERVICE}    env_file: /dev/zero\n", "compose.yaml:4:15: "),
        (f'{SERVICE}    env_file: "a\\0b"\n', "compose.yaml:4:15: "),
        (f"{SERVICE}    label_file: fifo\n", "compose.yaml:4:17: "),
        (f"include: [lost]\n{SERVICE}", "compose.yaml:1:11: "),
        (f"include: [directory]\n{SERVICE}", "compose.yaml:1:11: "),
        (f"include: [fifo]\n{SERVICE}", "compose.yaml:1:11: "),
        (f"include: [loop]\n{SERVICE}", "compose.yaml:1:11: "),
        (f"include: [/dev/zero]\n{SERVICE}", "compose.yaml:1:11: "),
        (f"include: [compose.yaml]\n{SERVICE}", "compose.yaml:1:11: include cycle detected"),
        (f"include: [{{path: []}}]\n{SERVICE}", "compose.yaml:1:11: include: an entry of include needs a path"),
        (f"include: [{{path: a, env_file: fifo}}]\n{SERVICE}", "compose.yaml:1:11: "),
        ("services: {a: {extends: {file: fifo, service: b}}}\n", "compose.yaml:1:25: "),
        ("services: {a: {image: i, extends: a}}\n", "compose.yaml:1:35: Circular reference"),
        ("services: {a: {extends: b}, b: {extends: a}}\n", "compose.yaml:1:25: Circular reference"),
        (
            "services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}\n",
            "compose.yaml:1:38: services.a.depends_on: dependency cycle detected: a -> b -> a",
        ),
        (f"name: [a]\n{SERVICE}", "compose.yaml:1:7: name must be a string"),
        (f"{SERVICE}    secrets: [{{target: x}}]\n", "compose.yaml:"),
    ],
    ids=lambda value: repr(value)[-60:-3] if value.__class__ in (str, bytes) else None,
)
def test_hostile_files_are_refused_with_their_place(
    text: str | bytes, message: str, dialect: str, folder: Path
) -> None:
    assert refusal(folder, text, dialect).startswith(message)


@both
@pytest.mark.parametrize(
    "text",
    [
        SERVICE.encode("utf-16"),
        b"\xef\xbb\xbf" + SERVICE.encode(),
        SERVICE.replace("\n", "\r\n"),
        f"{SERVICE}    user: {'u' * 900_000}\n",
        f"{SERVICE}    user: '{'$' * 800_000}'\n",
        f"{SERVICE}    env_file: /dev/null\n",
        f"{SERVICE}x-a: {'[' * 55}{']' * 55}\n",
        f"{SERVICE}    ports: ['10000-20000:10000-20000/udp']\n",
        "services:\n" + "".join(f"  s{number}: {{image: i}}\n" for number in range(3000)),
    ],
    ids=["UTF-16", "byte order mark", "CRLF", "long text", "dollars", "null device", "nested", "ports", "services"],
)
def test_unusual_files_load(text: str | bytes, dialect: str, folder: Path) -> None:
    assert refusal(folder, text, dialect) == ""


@pytest.mark.parametrize("file", ["lost", "directory", "fifo", "/dev/zero", "loop"])
def test_files_of_secrets_are_refused_with_the_place_of_the_secret(file: str, folder: Path) -> None:
    found = refusal(folder, f"{SERVICE}secrets:\n  s: {{file: {file}}}\n")
    assert found.startswith("compose.yaml:5:6: secrets.s: ")


def test_a_name_that_no_project_may_have_is_refused_with_its_place(folder: Path) -> None:
    assert refusal(folder, f"name: Ä b\n{SERVICE}", BY_COMPOSE).startswith("compose.yaml:1:7: invalid project name")


def test_defaults_within_defaults_end(folder: Path) -> None:
    found = refusal(folder, f"{SERVICE}    user: '{'${A:-' * 50_000}{'}' * 50_000}'\n", BY_COMPOSE)
    assert found == "compose.yaml:4:11: error while interpolating services.a.user: more than 32 defaults are nested"


def test_values_that_double_in_an_environment_file_end(folder: Path) -> None:
    found = refusal(folder, f"{SERVICE}    env_file: doubling\n", BY_COMPOSE)
    assert found == "compose.yaml:4:15: doubling:18: the text is longer than 1 MiB"
    (folder / ".env").write_text((folder / "doubling").read_text())
    assert refusal(folder, SERVICE, BY_COMPOSE) == ".env:18: the text is longer than 1 MiB"


def test_a_text_may_not_grow_by_many_variables(folder: Path) -> None:
    (folder / ".env").write_text("A=" + "x" * 100_000)
    found = refusal(folder, f"{SERVICE}    command: [{'$A,' * 100}]\n", BY_COMPOSE)
    assert found.startswith("compose.yaml:4:")
    assert found.endswith("the texts of the file are longer than 4 MiB")


def test_a_pipe_with_a_writer_is_read_and_one_without_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "compose.fifo")
    path = str(folder / "compose.fifo")
    with pytest.raises(CoveyError, match="is a pipe that nothing was written to"):
        check_stack("s", (path,), {})
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with Path(path).open("w") as writer:
        writer.write(f"{SERVICE}    ipc: host\n")
    (line,) = check_stack("s", (path,), {})
    os.close(reader)
    assert "services.a.ipc" in line


def test_a_loop_of_includes_over_files_ends(folder: Path) -> None:
    (folder / "b.yml").write_text("include: [compose.yaml]\nservices: {}\n")
    found = refusal(folder, f"include: [b.yml]\n{SERVICE}", BY_COMPOSE)
    assert found.startswith("b.yml:1:11: include cycle detected:\ncompose.yaml\n include b.yml\n include ")


def test_a_fan_of_includes_ends(folder: Path) -> None:
    (folder / "30.yml").write_text("services: {}\n")
    for number in range(30):
        (folder / f"{number}.yml").write_text(f"include: [{f'{number + 1}.yml,' * 5}]\n")
    assert "more than 64 files" in refusal(folder, f"include: [0.yml]\n{SERVICE}", BY_COMPOSE)


def test_files_outside_of_the_project_are_read_as_docker_reads_them(folder: Path) -> None:
    inner = folder / "project"
    inner.mkdir()
    (folder / "outside.env").write_text("A=1\n")
    (folder / "outside.yml").write_text("services: {b: {image: j}}\n")
    (inner / "linked.env").symlink_to("../outside.env")
    text = f"include: [../outside.yml]\n{SERVICE}    env_file: [../outside.env, linked.env]\n"
    assert refusal(inner, text, BY_STACK) == ""
    assert refusal(inner, text, BY_COMPOSE) == ""
