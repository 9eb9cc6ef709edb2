"""Compose projects compared with ``docker compose config``: the same text, and the same files are refused."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.compose.config_hash import service_hash
from compose.errors import ComposeFileError
from compose.nodes import plain
from compose.project.files import ProjectFiles
from compose.project.json_output import project_json
from compose.project.loader import load_project
from compose.project.model import ProjectOptions
from compose.project.output import project_yaml
from covey.errors import InvalidArgumentError
from tests.support.real_compose import compose_program

DIRECTORY = Path(__file__).parent / "project_corpus"
STACK_DIRECTORY = Path(__file__).parent / "stack_corpus"
ENVIRONMENT = {"HOME": "/root", "PATH": os.environ["PATH"], "SET": "yes", "EMPTY": "", "NUMBER": "3"}
TAIL = """
  b: {image: bb}
networks: {n: , m: {external: true}, q: }
volumes: {aa: , v: , "a": }
secrets: {a: {external: true, name: x}, nope: {file: zz}}
configs: {a: {external: true, name: x}}
"""
# Where Compose drops what it was told, refuses what it takes elsewhere, or leaves work to others.
DIFFERENT = {
    "expose: [1.5]",
    'blkio_config: {weight: "300"}',
    "provider: {type: x}",
    "label_file: one.env",
    "devices: [a, a]",
    "healthcheck: {test: [a, a]}",
    "volumes: [{type: bind, source: /a, target: /b, x-a: 1}]",
}
BODIES = [
    body
    for folder in (STACK_DIRECTORY, DIRECTORY)
    for body in (folder / "bodies.txt").read_text().splitlines()
    if body not in DIFFERENT
]
MERGES = [
    tuple(line.split(" | "))
    for folder in (STACK_DIRECTORY, DIRECTORY)
    for line in (folder / "merges.txt").read_text().splitlines()
]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "proj"
    folder.mkdir()
    for name in ("one.env", "two.env"):
        (folder / name).write_text((STACK_DIRECTORY / name).read_text())
    return folder


class Refused(str):
    """The words of a refusal."""

    __slots__ = ()


def by_compose(files: list[Path], form: str, *options: str) -> str:
    """The text that Compose prints, or its refusal."""
    named = [part for file in files for part in ("-f", str(file))]
    command = [str(compose_program()), *named, *options, "config", "--format", form]
    run = subprocess.run(command, env=ENVIRONMENT, cwd=files[0].parent, capture_output=True, text=True, check=False)
    return run.stdout if run.returncode == 0 else Refused(run.stderr)


def by_covey(files: list[Path], form: str, **options: Any) -> str:
    """The text that covey prints, or its refusal."""
    paths = tuple(str(file) for file in files)
    try:
        project = load_project(
            ProjectOptions(files=paths, environment=ENVIRONMENT, **options), ProjectFiles(files[0].parent)
        )
    except (ComposeFileError, InvalidArgumentError) as error:
        return Refused(error)
    return project_yaml(project.content) if form == "yaml" else project_json(project.content)


def compare(files: list[Path], form: str = "yaml") -> None:
    compose, covey = by_compose(files, form), by_covey(files, form)
    if isinstance(compose, Refused):
        assert isinstance(covey, Refused), f"Compose refuses: {compose}"
    else:
        assert covey == compose


def written(directory: Path, *texts: str) -> list[Path]:
    files = []
    for number, text in enumerate(texts):
        files.append(directory / f"{number}.yaml")
        files[-1].write_text(text)
    return files


def service(body: str) -> str:
    return f"services:\n  a:\n    image: x\n    {body}{TAIL}"


@pytest.mark.parametrize("body", BODIES)
def test_a_key_of_a_service_is_printed_as_by_compose(body: str, directory: Path) -> None:
    compare(written(directory, service(body)))


@pytest.mark.parametrize(("first", "second"), MERGES)
def test_two_files_are_merged_as_by_compose(first: str, second: str, directory: Path) -> None:
    compare(written(directory, service(first), f"services:\n  a:\n    {second}\n"))


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_file_is_printed_as_by_compose(path: Path, form: str) -> None:
    compare([path], form)


@pytest.mark.parametrize("body", BODIES)
def test_an_unchanged_service_is_recognised_across_both_clients(body: str, directory: Path) -> None:
    files = written(directory, service(body))
    named = [part for file in files for part in ("-f", str(file))]
    command = [str(compose_program()), *named, "config", "--hash", "a"]
    run = subprocess.run(command, env=ENVIRONMENT, cwd=directory, capture_output=True, text=True, check=False)
    if run.returncode:
        return
    options = ProjectOptions(files=(str(files[0]),), environment=ENVIRONMENT)
    content = plain(load_project(options, ProjectFiles(directory)).content)
    assert run.stdout.split() == ["a", service_hash(content["services"]["a"])]


def test_a_service_with_every_key_is_recognised_across_both_clients() -> None:
    path = DIRECTORY / "every_key.yaml"
    command = [str(compose_program()), "-f", str(path), "config", "--hash", "zed"]
    run = subprocess.run(command, env=ENVIRONMENT, cwd=DIRECTORY, capture_output=True, text=True, check=True)
    options = ProjectOptions(files=(str(path),), environment=ENVIRONMENT)
    content = plain(load_project(options, ProjectFiles(DIRECTORY)).content)
    assert run.stdout.split() == ["zed", service_hash(content["services"]["zed"])]
