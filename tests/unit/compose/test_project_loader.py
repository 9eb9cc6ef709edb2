"""Projects from files on disk: where files, variables, names and profiles come from; errors with places; limits."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from compose.errors import ComposeFileError
from compose.nodes import plain
from compose.project.files import ProjectFiles
from compose.project.loader import load_project
from compose.project.model import Project, ProjectOptions
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError


def load(directory: Path, **options: object) -> Project:
    return load_project(ProjectOptions(**options), ProjectFiles(directory))  # type: ignore[arg-type]


def services(project: Project) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = plain(project.content.items["services"])
    return found


def test_the_default_file_and_its_override_are_found_above(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: i, environment: {A: 1}}}")
    (tmp_path / "compose.override.yaml").write_text("services: {a: {environment: {B: 2}}}")
    below = tmp_path / "deep" / "er"
    below.mkdir(parents=True)
    project = load(below)
    assert services(project)["a"]["environment"] == {"A": "1", "B": "2"}
    assert project.directory == str(tmp_path)
    with pytest.raises(NotFoundError, match="no configuration file provided: not found"):
        load(Path("/proc/1/task"))


def test_the_clients_environment_overrides_the_file_of_variables(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: '${IMAGE}:${TAG}'}}")
    (tmp_path / ".env").write_text("IMAGE=i\nTAG=1")
    (tmp_path / "other.env").write_text("IMAGE=other\nTAG=2")
    assert services(load(tmp_path))["a"]["image"] == "i:1"
    assert services(load(tmp_path, environment={"TAG": "5"}))["a"]["image"] == "i:5"
    assert services(load(tmp_path, env_files=("other.env",)))["a"]["image"] == "other:2"
    with pytest.raises(InvalidArgumentError, match="couldn't find env file: .*lost.env"):
        load(tmp_path, env_files=("lost.env",))


def test_the_name_is_given_or_that_of_the_files_or_of_the_directory(tmp_path: Path) -> None:
    folder = tmp_path / "My_App.2"
    folder.mkdir()
    file = folder / "compose.yaml"
    file.write_text("services: {a: {image: i}}")
    assert load(folder).name == "my_app2"
    file.write_text("name: of-$WORD\nservices: {a: {image: i}}")
    assert load(folder, environment={"WORD": "file"}).name == "of-file"
    assert load(folder, environment={"COMPOSE_PROJECT_NAME": "shell", "WORD": "file"}).name == "shell"
    assert load(folder, name="given").name == "given"
    with pytest.raises(InvalidArgumentError, match='invalid project name "No"'):
        load(folder, name="No")


def test_services_of_profiles_are_enabled_by_name(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: i}, d: {image: i, profiles: [dev, x]}}")
    assert set(services(load(tmp_path))) == {"a"}
    assert set(load(tmp_path).disabled) == {"d"}
    assert set(services(load(tmp_path, profiles=("dev",)))) == {"a", "d"}
    assert set(services(load(tmp_path, environment={"COMPOSE_PROFILES": "x,y"}))) == {"a", "d"}


def test_an_error_of_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("include: [more.yaml]\nservices: {a: {image: i}}")
    (tmp_path / "more.yaml").write_text("services:\n  b:\n    image: i\n    ports: 80\n")
    with pytest.raises(ComposeFileError) as caught:
        load(tmp_path)
    assert caught.value.message == f"{tmp_path}/more.yaml:4:12: services.b.ports must be a list"


def test_cycles_and_endless_includes_end_within_two_seconds(tmp_path: Path) -> None:
    started = time.process_time()
    for number in range(70):
        (tmp_path / f"{number}.yaml").write_text(f"include: [{number + 1}.yaml]\nservices: {{s{number}: {{image: i}}}}")
    with pytest.raises(ComposeFileError, match="more than 64 files"):
        load(tmp_path, files=("0.yaml",))
    (tmp_path / "x.yaml").write_text("services: {a: {extends: {file: y.yaml, service: a}}}")
    (tmp_path / "y.yaml").write_text("services: {a: {extends: {file: x.yaml, service: a}}}")
    with pytest.raises(ComposeFileError, match=r"Circular reference:\n  a in .*x.yaml\n  extends a in .*y.yaml"):
        load(tmp_path, files=("x.yaml",))
    assert time.process_time() - started < 2


def test_two_hundred_services_load_quickly(tmp_path: Path) -> None:
    body = {
        "image": "nginx:${TAG:-1}",
        "ports": ["80"],
        "environment": {"A": "b", "C": "${D:-x}"},
        "networks": ["n"],
        "volumes": ["data:/data", {"type": "bind", "source": "./x", "target": "/y"}],
        "deploy": {"replicas": 3, "resources": {"limits": {"cpus": "0.5", "memory": "50M"}}},
        "healthcheck": {"test": ["CMD", "curl"], "interval": "10s"},
        "labels": ["a=b"],
    }
    content = {"services": {f"s{n}": body for n in range(200)}, "networks": {"n": None}, "volumes": {"data": None}}
    (tmp_path / "compose.yaml").write_text(json.dumps(content))
    started = time.process_time()
    assert len(services(load(tmp_path))) == 200
    assert time.process_time() - started < 2  # measured: 0.2 s; the bound leaves room for slow machines


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
CORPUS = Path(__file__).parent / "project_corpus" / "every_key.yaml"


def paths(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The paths of all values."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [inner for key, item in value.items() for inner in paths(item, (*path, key))]
    elif isinstance(value, list):
        found += [inner for index, item in enumerate(value) for inner in paths(item, (*path, index))]
    return found


def replaced(value: object, path: tuple[object, ...], new: object) -> object:
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: replaced(value[key], tuple(rest), new)}
    assert isinstance(value, list)
    return [replaced(item, tuple(rest), new) if index == key else item for index, item in enumerate(value)]


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_mutation_of_a_file_loads_or_gives_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = yaml.safe_load(CORPUS.read_text())
    where = data.draw(st.sampled_from(paths(content)))
    mutated = replaced(content, where, data.draw(VALUES))
    folder = tmp_path_factory.mktemp("mutation")
    (folder / "compose.yaml").write_text(json.dumps(mutated))
    message = ""
    try:
        load(folder)
    except CoveyError as error:
        message = error.message
    assert not message or "compose.yaml:" in message or "project name" in message or "cycle" in message, message


def test_a_file_that_can_be_read_once_only_is_a_project() -> None:
    """A shell gives the output of a command as such a file: ``-f <(command)``."""
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, b"services: {a: {image: app}}\n")
        os.close(write_end)
        options = ProjectOptions(files=(f"/dev/fd/{read_end}",), environment={}, name="piped")
        assert list(load_project(options).content.items["services"].items) == ["a"]
    finally:
        os.close(read_end)
