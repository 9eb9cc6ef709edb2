"""Stacks from Git repositories: sources, commits of a real git daemon, and hostile repositories."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import repository
from compose.stack.model import Stack
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, TooLargeError
from covey.git_source import parse_source
from tests.support.git_daemon import GitRepository, served_repository

FILE = "services:\n  web: {image: i, configs: [c]}\nconfigs: {c: {file: ./c.txt}}\n"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitRepository]:
    with served_repository(tmp_path_factory.mktemp("git")) as served:
        yield served


def load(text: str) -> Stack:
    return repository.load_from_repository("s", parse_source(text), (), {}).stack


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/a.git", ("https", "", "")),
        ("https://h/a.git#v1.0", ("https", "v1.0", "")),
        ("ssh://git@h/a#feature/x:deploy/stack.yaml", ("ssh", "feature/x", "deploy/stack.yaml")),
        ("git@h:a/b.git#:stack.yaml", ("ssh", "", "stack.yaml")),
        ("file:///srv/a#main", ("file", "main", "")),
    ],
)
def test_a_source_names_url_ref_and_path(text: str, expected: tuple[str, str, str]) -> None:
    source = parse_source(text)
    assert (source.protocol, source.ref, source.path) == expected
    assert source.url == text.partition("#")[0]


@pytest.mark.parametrize(
    "text",
    [
        "/srv/a",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c true",
        "fd::3",
        "https://h/a#--force",
        "https://h/a#main:../etc/passwd",
        "https://h/a#main:/etc/passwd",
        "https://h/a b",
        "https://h/a#a..b",
        "",
    ],
)
def test_what_is_no_safe_source_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_source(text)


def test_credentials_of_a_url_are_not_shown() -> None:
    assert parse_source("https://user:word@h/a").shown == "https://h/a"


def test_a_commit_a_branch_and_a_tag_are_fetched_and_recorded(repo: GitRepository) -> None:
    first = repo.commit({"compose.yaml": FILE, "c.txt": "one", "sub/other.yaml": FILE, "sub/c.txt": "sub"})
    repo.git("tag", "v1")
    second = repo.commit({"c.txt": "two"})
    for ref, commit, content in (
        ("", second, b"two"),
        ("#main", second, b"two"),
        ("#v1", first, b"one"),
        (f"#{second}", second, b"two"),
        ("#v1:sub/other.yaml", first, b"sub"),
    ):
        found = load(repo.url + ref)
        assert found.configs[0].data == content
        for labels in (found.services[0].spec["Labels"], found.configs[0].labels):
            assert labels["covey.stack.commit"] == commit
            assert labels["covey.stack.repository"] == repo.url


@pytest.mark.parametrize(
    ("ref", "reason"),
    [("#nowhere", "couldn't find remote ref nowhere"), ("#main:nothing.yaml", "has no nothing.yaml")],
)
def test_a_missing_ref_or_file_is_named(repo: GitRepository, ref: str, reason: str) -> None:
    repo.commit({"compose.yaml": FILE, "c.txt": "one"})
    with pytest.raises(CoveyError, match=reason):
        load(repo.url + ref)


def test_a_repository_without_a_compose_file_says_how_to_name_one(repo: GitRepository) -> None:
    repo.commit({"sub/readme": "", "compose.yaml": FILE})
    with pytest.raises(NotFoundError, match="URL#REF:PATH"):
        load(f"{repo.url}#main:sub")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("up.yaml", "services: {web: {image: i}}\nsecrets: {s: {file: ../../../../../etc/passwd}}\n"),
        ("absolute.yaml", "services: {web: {image: i}}\nconfigs: {s: {file: /etc/passwd}}\n"),
        ("env.yaml", "services: {web: {image: i, env_file: /etc/passwd}}\n"),
        ("include.yaml", "include: [../../../etc/passwd]\nservices: {web: {image: i}}\n"),
        ("link.yaml", "services: {web: {image: i}}\nsecrets: {s: {file: ./link}}\n"),
        ("folder.yaml", "services: {web: {image: i}}\nsecrets: {s: {file: ./folder/passwd}}\n"),
        ("bind.yaml", "services: {web: {image: i, volumes: ['./data:/data']}}\n"),
    ],
)
def test_no_file_outside_is_read_and_no_directory_mounted(repo: GitRepository, name: str, content: str) -> None:
    for link, target in (("link", "/etc/passwd"), ("folder", "/etc"), ("self.yaml", "/etc/passwd")):
        path = repo.folder / link
        if not path.is_symlink():
            path.symlink_to(target)
    repo.commit({name: content})
    with pytest.raises(InvalidArgumentError, match="outside|of the repository"):
        load(f"{repo.url}#main:{name}")
    with pytest.raises(InvalidArgumentError, match="outside the repository"):
        load(f"{repo.url}#main:self.yaml")


def test_a_repository_that_is_too_large_is_refused(repo: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit({"compose.yaml": FILE, "c.txt": "x" * 100_000})
    monkeypatch.setattr(repository, "MAX_BYTES", 50_000)
    with pytest.raises(TooLargeError, match="is larger than"):
        load(repo.url)


def test_hooks_and_filters_of_a_repository_are_not_run(repo: GitRepository, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    repo.commit({"compose.yaml": FILE, "c.txt": "one", ".gitattributes": "* filter=evil\n", "hooks/post-checkout": ""})
    repo.git("config", "filter.evil.smudge", f"touch {mark}; cat")
    hook = repo.folder / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    assert load(repo.url).configs[0].data == b"one"
    assert not mark.exists()
