"""Canonical stack files compared with ``docker stack config``: the same text is printed, and the same files are refused."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from compose.errors import ComposeFileError
from compose.nodes import Node, plain
from compose.stack.canonical import CanonicalStack, StackPaths
from compose.stack.loader import load_stack
from compose.stack.output import stack_yaml
from compose.yaml_reader import read_yaml

DIRECTORY = Path(__file__).parent / "stack_corpus"
ENVIRONMENT = {"HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/bin", "SET": "yes", "EMPTY": "", "NUMBER": "3"}
BODIES = (DIRECTORY / "bodies.txt").read_text().splitlines()
MERGES = [tuple(line.split(" | ")) for line in (DIRECTORY / "merges.txt").read_text().splitlines()]
TOPS = (DIRECTORY / "tops.txt").read_text().splitlines()


def environment_file(node: Node) -> Mapping[str, str | None]:
    lines = (DIRECTORY / str(plain(node))).read_text().splitlines()
    return {key: value if found else None for key, found, value in (line.partition("=") for line in lines)}


def by_covey(files: list[str]) -> str:
    """What covey prints, or the refusal in parentheses."""
    canonical = CanonicalStack(StackPaths(str(DIRECTORY), "/root"), ENVIRONMENT, environment_file)
    try:
        stack = load_stack([read_yaml(text, "f") for text in files], ENVIRONMENT, canonical)
        return stack_yaml(stack.content, stack.version)
    except (ComposeFileError, FileNotFoundError) as error:
        return f"({error})"


def by_docker(files: list[str], directory: Path) -> str:
    """What docker prints, or the refusal in parentheses."""
    options = []
    for number, text in enumerate(files):
        path = directory / f"{number}.yml"
        path.write_text(text)
        options += ["-c", str(path)]
    command = ["docker", "stack", "config", *options]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if result.returncode:
        return f"({result.stderr.strip()})"
    return result.stdout.replace(str(directory), str(DIRECTORY)).removesuffix("\n")


def compare(files: list[str], tmp_path: Path) -> None:
    for name in ("one.env", "two.env"):
        (tmp_path / name).write_text((DIRECTORY / name).read_text())
    docker, covey = by_docker(files, tmp_path), by_covey(files)
    if docker.startswith("("):
        assert covey.startswith("("), f"docker refuses: {docker}"
    else:
        assert covey.removesuffix("\n") == docker.removesuffix("\n")


def service(body: str) -> str:
    return f'version: "3.13"\nservices:\n  a:\n    image: x\n    {body}\n'


@pytest.mark.parametrize("body", BODIES)
def test_a_key_of_a_service_is_printed_or_refused_as_by_docker(body: str, tmp_path: Path) -> None:
    compare([service(body)], tmp_path)


@pytest.mark.parametrize(("first", "second"), MERGES)
def test_two_files_are_merged_as_by_docker(first: str, second: str, tmp_path: Path) -> None:
    compare([service(first), f'version: "3.13"\nservices:\n  a:\n    {second}\n'], tmp_path)


@pytest.mark.parametrize("top", TOPS)
def test_a_top_level_section_is_printed_or_refused_as_by_docker(top: str, tmp_path: Path) -> None:
    compare([f'version: "3.13"\nservices: {{a: {{image: x}}}}\n{top}\n'], tmp_path)


@pytest.mark.parametrize("version", ["3", "3.0", "3.4", "3.8", "3.12", "3.13", "3.14", "2", "2.4", "3.08", "three", ""])
@pytest.mark.parametrize("body", ["init: true", "x-a: 1", "deploy: {rollback_config: {delay: 1s}}", "secrets: [a]"])
def test_versions_know_the_keys_that_docker_knows_in_them(version: str, body: str, tmp_path: Path) -> None:
    compare([service(body).replace("3.13", version)], tmp_path)


@pytest.mark.parametrize("versions", [("3.1", "3.2"), ("3", "3.13"), ("3.8", "3.8")])
def test_files_of_several_versions_are_refused(versions: tuple[str, str], tmp_path: Path) -> None:
    compare([service("tty: true").replace("3.13", version) for version in versions], tmp_path)


def test_every_key_at_once(tmp_path: Path) -> None:
    compare([(DIRECTORY / "every_key.yml").read_text()], tmp_path)


MANIFESTS = Path(__file__).parents[2] / "e2e" / "manifests"


@pytest.mark.parametrize("files", [("plain.yaml",), ("ports.yaml",), ("rich.yaml",), ("plain.yaml", "over.yaml")])
def test_the_command_prints_files_from_disk_as_docker_does(files: tuple[str, ...]) -> None:
    options = [part for name in files for part in ("-c", str(MANIFESTS / name))]
    covey = [str(Path(sys.executable).parent / "covey"), "stack", "config", *options]
    outputs = []
    for command in (["docker", "stack", "config", *options], covey):
        run = subprocess.run(command, env=ENVIRONMENT | {"OCTET": "7"}, capture_output=True, text=True, check=True)
        outputs.append(run.stdout)
    assert outputs[0] == outputs[1]
