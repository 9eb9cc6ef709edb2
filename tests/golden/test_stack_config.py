"""Golden stack files: what the real clients make of each file of the corpus, and what Covey makes of it.

``COVEY_WRITE_GOLDEN=1 pytest tests/golden/test_stack_config.py`` records anew what the installed clients answer; read the difference.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.stack.loader import check_stack, stack_config
from compose.nodes import ListNode, MappingNode, Node
from compose.project import format as project_format
from compose.project.files import ProjectFiles
from compose.project.loader import load_project
from compose.project.model import ProjectOptions
from compose.project.output import project_values
from compose.schema import Kind, ListOf, MapOf, OneOf, Table
from compose.sources import load_stack_files
from compose.stack import format as stack_format
from compose.stack.output import stack_yaml
from compose.yaml_reader import read_documents
from covey.errors import CoveyError, InvalidArgumentError
from tests.support.stack_cases import CASES, ClientAnswer, StackCase

WRITE = os.environ.get("COVEY_WRITE_GOLDEN") == "1"
BY_COMPOSE = [case for case in CASES if WRITE or case.recorded("compose") is not None]
# Compose leaves these to a program of the client or to another host, or reads what says nothing.
REFUSED_BY_NAME = {
    "newer-provider": "has a provider",
    "newer-models": "uses models",
    "env-file-no-name": "invalid line in an environment file",
}
PLACE = re.compile(r"^/stack/[\w./]+\.yml:\d+:\d+: ")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")


def named(cases: list[StackCase]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def as_stack(case: StackCase) -> ClientAnswer:
    """What covey prints in docker's format, or the refusal."""
    try:
        stack = load_stack_files(case.files, case.environment)
        return ClientAnswer(True, case.portable(stack_yaml(stack.content, stack.version)))
    except CoveyError as error:
        return ClientAnswer(False, case.portable(error.message))


def same(answer: ClientAnswer, recorded: ClientAnswer | None) -> bool:
    """Whether an answer is the recorded one. Refusals are compared by meaning: of several faults a client names a random one."""
    return answer == recorded or (recorded is not None and not answer.accepted and not recorded.accepted)


def filled(value: Any) -> Any:
    """Values without empty ones, in which the clients differ; and without files of labels, whose labels are among the service's."""
    if isinstance(value, dict):
        items = {key: filled(item) for key, item in value.items() if key != "label_file"}
        return {key: item for key, item in items.items() if item not in (None, False, "", 0, [], {})}
    return [filled(item) for item in value] if isinstance(value, list) else value


def project_of(case: StackCase) -> Any:
    """The values of ``covey compose config``."""
    options = ProjectOptions(files=tuple(case.files), environment=case.environment)
    values = project_values(load_project(options, ProjectFiles(case.folder)).content)
    return filled(json.loads(case.portable(json.dumps(values))))


@named(CASES)
def test_the_installed_clients_still_answer_as_recorded(case: StackCase) -> None:
    answer = case.by_docker()
    if WRITE:
        case.record("docker", answer)
        (case.folder / "compose.yml").unlink(missing_ok=True)
        if not answer.accepted:
            case.record("compose", case.by_compose())
    assert same(answer, case.recorded("docker"))
    assert case.recorded("compose") is None or same(case.by_compose(), case.recorded("compose"))


@named(CASES)
def test_a_stack_file_is_printed_or_refused_as_by_docker(case: StackCase) -> None:
    docker, covey = case.recorded("docker"), as_stack(case)
    assert docker is not None
    assert covey.accepted == docker.accepted, covey.text
    if case.name == "dotenv-beside":
        assert covey.text == docker.text.replace("a:none", "a:dotenv").replace("null", '"yes"')
    elif docker.accepted:
        assert covey.text == docker.text
    else:
        assert PLACE.match(covey.text), covey.text


@named(BY_COMPOSE)
def test_what_docker_refuses_is_read_as_by_compose(case: StackCase) -> None:
    compose = case.recorded("compose")
    assert compose is not None
    if compose.accepted and case.name not in REFUSED_BY_NAME:
        stack_config(case.files, case.environment, interpolated=True)
        assert project_of(case) == filled(yaml.safe_load(compose.text))
        return
    with pytest.raises(InvalidArgumentError) as caught:
        stack_config(case.files, case.environment, interpolated=True)
    refusal = case.portable(caught.value.message)
    assert PLACE.match(refusal), refusal
    assert REFUSED_BY_NAME.get(case.name, "") in refusal


def test_further_documents_of_a_stack_file_are_named() -> None:
    (case,) = (case for case in CASES if case.name == "several-documents")
    found = [case.portable(line) for line in check_stack("s", case.files, case.environment)]
    unread = "this YAML document is not read: docker stack reads the first of a file"
    assert found == [f"/stack/stack.yml:3:1: {unread}", f"/stack/stack.yml:5:1: {unread}"]


def sources() -> list[Path]:
    """All YAML files of the corpus that were written by hand."""
    recorded = {"docker.yml", "compose.yml"}
    return [path for case in CASES for path in case.folder.rglob("*.yml") if path.name not in recorded]


def used_keys(kind: Kind, node: Node, path: str = "") -> Iterator[str]:
    """The paths of the keys of a format that a file uses, with ``*`` for names and list entries."""
    if isinstance(kind, OneOf):
        for alternative in kind.kinds:
            yield from used_keys(alternative, node, path)
    elif isinstance(kind, Table) and isinstance(node, MappingNode):
        for key, known in kind.fields.items():
            if key in node.items:
                yield f"{path}.{key}"
                yield from used_keys(known.kind, node.items[key], f"{path}.{key}")
    elif isinstance(kind, MapOf) and isinstance(node, MappingNode):
        for item in node.items.values():
            yield from used_keys(kind.value, item, f"{path}.*")
    elif isinstance(kind, ListOf) and isinstance(node, ListNode):
        for item in node.items:
            yield from used_keys(kind.item, item, f"{path}[]")


def all_keys(kind: Kind, path: str = "") -> Iterator[str]:
    """The paths of all keys of a format."""
    if isinstance(kind, OneOf):
        for alternative in kind.kinds:
            yield from all_keys(alternative, path)
    elif isinstance(kind, Table):
        for key, known in kind.fields.items():
            yield f"{path}.{key}"
            yield from all_keys(known.kind, f"{path}.{key}")
    elif isinstance(kind, MapOf | ListOf):
        inner, mark = (kind.value, ".*") if isinstance(kind, MapOf) else (kind.item, "[]")
        yield from all_keys(inner, path + mark)


@pytest.mark.parametrize(
    ("table", "accepting"),
    [(stack_format.STACK, "docker"), (project_format.PROJECT, "compose")],
    ids=["docker stack", "Compose Specification"],
)
def test_every_key_of_the_format_is_in_a_file_that_the_client_accepts(table: Table, accepting: str) -> None:
    accepted = {case.folder for case in CASES if (answer := case.recorded(accepting)) and answer.accepted}
    accepted |= {case.folder for case in CASES if accepting == "compose" and (case.folder / "docker.yml").exists()}
    used = {
        key
        for path in sources()
        if accepted & set(path.parents)
        for document in read_documents(path.read_text(), str(path))
        for key in used_keys(table, document)
    }
    never = {".services.*.ports[].host_ip"} if accepting == "docker" else set()
    assert set(all_keys(table)) - used - never == set()


INTERPOLATION_RULES = {
    "$NAME": r"(?<!\$)\$[A-Za-z_]",
    "${NAME}": r"\$\{\w+\}",
    "${NAME:-default}": r"\$\{\w+:-[^}]",
    "${NAME:-}": r"\$\{\w+:-\}",
    "${NAME-default}": r"\$\{\w+-",
    "${NAME:?message}": r"\$\{\w+:\?",
    "${NAME?message}": r"\$\{\w+\?",
    "${NAME:+other}": r"\$\{\w+:\+",
    "${NAME+other}": r"\$\{\w+\+",
    "$$": r"\$\$",
    "nested": r"\$\{\w+:-\$\{",
    "operator without braces": r"\$\w+:-",
    "lone dollar": r"\$[ \"]",
    "open brace": r"\$\{\w+\"",
    "bad name": r"\$\{[0-9]",
}


@pytest.mark.parametrize("rule", INTERPOLATION_RULES)
def test_every_rule_of_interpolation_is_in_the_corpus(rule: str) -> None:
    assert any(re.search(INTERPOLATION_RULES[rule], path.read_text()) for path in sources())


def test_every_key_of_a_service_is_merged_in_the_corpus() -> None:
    merged: set[str] = set()
    for case in CASES:
        answer = case.recorded("docker")
        if len(case.files) > 1 and answer and answer.accepted:
            first, *others = (read_documents(Path(file).read_text(), file)[0] for file in case.files)
            base = set(used_keys(stack_format.STACK, first))
            merged |= {key for other in others for key in used_keys(stack_format.STACK, other) if key in base}
    missing = {f".services.*.{key}" for key in stack_format.SERVICE.fields} - merged
    assert missing == set()
    assert {f".{section}" for section in ("networks", "volumes", "secrets", "configs")} <= merged
