"""Compose projects compared with ``docker compose config``: the same values, and the same files are refused."""

import json
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
from compose.project.loader import load_project
from compose.project.model import ProjectOptions
from compose.project.output import project_values
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


def filled(value: Any) -> Any:
    """Values without empty ones and extensions, keys as in the file."""
    if isinstance(value, dict):
        names = {"Path": "path", "Rate": "rate", "Weight": "weight"}
        items = {names.get(key, key): filled(item) for key, item in value.items() if not key.startswith("x-")}
        return {key: item for key, item in items.items() if item not in (None, False, "", [], {})}
    return [filled(item) for item in value] if isinstance(value, list) else value


def by_compose(files: list[Path], *options: str) -> Any:
    """The values that Compose prints, or the refusal as a text."""
    named = [part for file in files for part in ("-f", str(file))]
    command = [str(compose_program()), *named, *options, "config", "--format", "json"]
    run = subprocess.run(command, env=ENVIRONMENT, cwd=files[0].parent, capture_output=True, text=True, check=False)
    return filled(json.loads(run.stdout)) if run.returncode == 0 else run.stderr


def by_covey(files: list[Path], **options: Any) -> Any:
    """The values that covey prints, or the refusal as a text."""
    paths = tuple(str(file) for file in files)
    try:
        project = load_project(
            ProjectOptions(files=paths, environment=ENVIRONMENT, **options), ProjectFiles(files[0].parent)
        )
    except (ComposeFileError, InvalidArgumentError) as error:
        return str(error)
    return filled(project_values(project.content))


def compare(files: list[Path]) -> None:
    compose, covey = by_compose(files), by_covey(files)
    if isinstance(compose, str):
        assert isinstance(covey, str), f"Compose refuses: {compose}"
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
def test_a_key_of_a_service_has_the_values_that_compose_gives_it(body: str, directory: Path) -> None:
    compare(written(directory, service(body)))


@pytest.mark.parametrize(("first", "second"), MERGES)
def test_two_files_are_merged_as_by_compose(first: str, second: str, directory: Path) -> None:
    compare(written(directory, service(first), f"services:\n  a:\n    {second}\n"))


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_file_has_the_values_that_compose_gives_it(path: Path) -> None:
    compare([path])


# Sections without a key that means something: Compose hashes that they are there.
EMPTY = ("deploy: {}", "healthcheck: {test: []}", 'volumes: ["a"]')


@pytest.mark.parametrize("body", [body for body in BODIES if "x-a" not in body and body not in EMPTY])
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
