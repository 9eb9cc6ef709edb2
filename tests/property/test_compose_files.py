"""Laws of both dialects: a file made of the tables of keys loads or is refused with its place, and so does any mutation of it, soon."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.nodes import plain
from compose.project import format as project_format
from compose.project.files import ProjectFiles
from compose.project.loader import load_project
from compose.project.model import ProjectOptions
from compose.schema import Kind, ListOf, MapOf, OneOf, Scalar, Table
from compose.sources import load_stack_files
from compose.stack import format as stack_format
from compose.stack.output import stack_yaml
from compose.stack.service_spec import stack_objects
from compose.yaml_reader import read_yaml
from covey.errors import CoveyError

LIMIT_SECONDS = 2
PLACE = re.compile(r"\S+/(?:compose\.yaml|0):\d+:\d+: ")
TEXTS = {
    "duration": "1m30s",
    "ports": "8080:80",
    "container name": "web-1",
    "pull policy": "missing",
}
# Keys whose values follow rules beyond their shape, or that name files and other entries.
VALID = {
    "version": "3.13",
    "networks": {"n": None},
    "volumes": [],
    "secrets": [],
    "configs": [],
    "memory": "64m",
    "cpus": "0.5",
    "mode": "replicated",
    "order": "stop-first",
    "extra_hosts": ["a:192.0.2.1"],
    "mem_limit": "64m",
    "external": False,
}
LEFT_OUT = {
    "include",
    "extends",
    "env_file",
    "label_file",
    "depends_on",
    "links",
    "volumes_from",
    "provider",
    "models",
    "network_mode",
    "ipc",
    "pid",
    "uts",
    "cgroup",
    "expose",
    "healthcheck",
    "develop",
    "credential_spec",
    "environment",
    "volumes",
    "secrets",
    "configs",
    "networks",
    "ports",
}
WORDS = st.sampled_from(["a", "web", "x1", "1.5", "true", "8080", "é", "a b", "$$"])
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def scalars(kind: Scalar) -> st.SearchStrategy[Any]:
    if kind.choices:
        return st.sampled_from(kind.choices)
    if kind.form:
        return st.just(TEXTS[kind.form[0]])
    if "boolean" in kind.types:
        return st.booleans()
    if "number" in kind.types or "integer" in kind.types:
        return st.integers(1, 60_000)
    return WORDS if "string" in kind.types else st.none()


def values(kind: Kind, version: int) -> st.SearchStrategy[Any]:
    """Valid values of a kind."""
    match kind:
        case Scalar():
            return scalars(kind)
        case ListOf():
            return st.lists(values(kind.item, version), max_size=2, unique_by=repr)
        case MapOf():
            return st.dictionaries(st.sampled_from(["a", "b.c", "d_1"]), values(kind.value, version), max_size=2)
        case OneOf():
            return st.one_of([values(item, version) for item in kind.kinds])
        case Table():
            return tables(kind, version)


def tables(table: Table, version: int, given_keys: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    known = {
        key: st.just(VALID[key])
        if key in VALID and not isinstance(VALID[key], list | dict)
        else values(item.kind, version)
        for key, item in table.fields.items()
        if item.since <= version and key not in LEFT_OUT
    }
    required = {key: known.pop(key) for key in table.required if key in known}
    return st.fixed_dictionaries(required, optional=known).map(lambda made: {**made, **(given_keys or {})})


def files(dialect: str) -> st.SearchStrategy[dict[str, Any]]:
    """Files of one service with some of its keys."""
    table = stack_format.SERVICE if dialect == "stack" else project_format.SERVICE
    version = stack_format.LATEST if dialect == "stack" else 0
    network = stack_format.NETWORK if dialect == "stack" else project_format.NETWORK
    service = tables(table, version, {"image": "i", "networks": {"n": None}, "ports": ["80:80"]})
    return st.fixed_dictionaries(
        {
            "services": st.fixed_dictionaries({"a": service}),
            "networks": st.fixed_dictionaries({"n": tables(network, version)}),
        }
    )


def load(dialect: str, folder: Path, text: str | bytes) -> str:
    """The refusal of a file, or an empty text."""
    path = folder / "compose.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    started = time.process_time()
    message = ""
    try:
        if dialect == "stack":
            stack = load_stack_files((str(path),), {})
            stack_yaml(stack.content, stack.version)
            stack_objects("s", stack.content, lambda _: b"")
        else:
            load_project(ProjectOptions(files=(str(path),), name="p"), ProjectFiles(folder))
    except CoveyError as error:
        message = error.message
    assert time.process_time() - started < LIMIT_SECONDS
    return message


dialects = pytest.mark.parametrize("dialect", ["stack", "project"])


@dialects
@SETTINGS
@given(data=st.data())
def test_a_file_of_the_tables_is_accepted_by_them(
    data: st.DataObject, dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What remains to refuse are values that contradict each other or are not of their form; those errors name the key."""
    content = data.draw(files(dialect))
    message = load(dialect, tmp_path_factory.mktemp("valid"), json.dumps(content))
    assert "Additional property" not in message
    assert "must be a " not in message
    assert not message or PLACE.match(message), message


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["$A", "${A:?x}", "1d", "-1", "80-90:1", ":", "/", "99999999999g", "\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
UNIT = Path(__file__).parents[1] / "unit" / "compose"
SEEDS = {
    "stack": plain(read_yaml((UNIT / "stack_corpus" / "every_key.yml").read_text(), "f")),
    "project": plain(read_yaml((UNIT / "project_corpus" / "every_key.yaml").read_text(), "f")),
}
for _seed in SEEDS.values():
    _seed["services"]["zed"].pop("env_file")


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([path] if path else []) + [inner for key, item in children for inner in paths(item, (*path, key))]


def mutated(value: Any, path: tuple[Any, ...], action: str, new: Any) -> Any:
    """The value with one entry replaced, removed, repeated, or given a key more."""
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[key] = mutated(copy[key], tuple(rest), action, new)
    elif action == "remove":
        del copy[key]
    elif action == "repeat" and isinstance(copy, list):
        copy.append(copy[key])
    elif action == "add" and isinstance(copy, dict):
        copy["unknown"] = new
    else:
        copy[key] = new
    return copy


@dialects
@settings(SETTINGS, max_examples=150)
@given(data=st.data())
def test_any_mutation_loads_or_is_refused_with_its_place(
    data: st.DataObject, dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seed = SEEDS[dialect]
    content = mutated(
        seed,
        data.draw(st.sampled_from(paths(seed))),
        data.draw(st.sampled_from(["replace", "remove", "repeat", "add"])),
        data.draw(VALUES),
    )
    message = load(dialect, tmp_path_factory.mktemp("mutation"), json.dumps(content))
    assert not message or PLACE.match(message), message


@dialects
@SETTINGS
@given(data=st.data())
def test_any_damage_of_the_text_loads_or_is_refused_with_its_place(
    data: st.DataObject, dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = json.dumps(SEEDS[dialect], indent=1).encode()
    at = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 40))
    text = text[:at] + data.draw(st.binary(max_size=12)) + text[at + removed :]
    message = load(dialect, tmp_path_factory.mktemp("damage"), text)
    assert not message or PLACE.match(message), message


@dialects
@SETTINGS
@given(text=st.text(alphabet="abs:{}[]&*!|>-?#$\"'\n \t,%@`~<1", max_size=80))
def test_any_text_loads_or_is_refused_with_its_place(
    text: str, dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    message = load(dialect, tmp_path_factory.mktemp("text"), text)
    assert not message or PLACE.match(message), message


def keys(kind: Kind, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Kind]]:
    """The paths of all keys of a format with their kinds; a name is ``n``, an entry of a list ``0``."""
    match kind:
        case OneOf():
            return [found for item in kind.kinds for found in keys(item, path)]
        case MapOf():
            return keys(kind.value, (*path, "n"))
        case ListOf():
            return keys(kind.item, (*path, "0"))
        case Table():
            own = [((*path, key), item.kind) for key, item in kind.fields.items() if item.since <= stack_format.LATEST]
            return own + [found for where, inner in own for found in keys(inner, where)]
    return []


WRONG = (None, True, 1, 1.5, "text", [], [1], ["a"], [[]], [{}], {}, {"a": 1}, {"a": []}, {"a": None}, -1, "", 1 << 70)


def nested(path: tuple[str, ...], value: Any) -> Any:
    for key in reversed(path):
        value = [value] if key == "0" else {key: value}
    return value


@pytest.mark.parametrize(
    ("dialect", "table"), [("stack", stack_format.STACK), ("project", project_format.PROJECT)], ids=["stack", "project"]
)
def test_a_value_of_any_type_at_any_key_loads_or_is_refused_with_its_place(
    dialect: str, table: Table, tmp_path: Path
) -> None:
    for path in dict.fromkeys(path for path, _ in keys(table)):
        for value in WRONG:
            text = json.dumps(nested(path, value))
            message = load(dialect, tmp_path, text)
            assert not message or PLACE.match(message), f"{text}: {message}"
