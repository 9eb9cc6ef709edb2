"""Git sources: which commit a listing names for a ref, and what git and people see of a URL."""

from base64 import b64encode

import pytest

from covey.errors import NotFoundError
from covey.git_source import advertised_commit, git_environment, git_failure, parse_source, remote_refs

A, B, C, D = (letter * 40 for letter in "abcd")


@pytest.mark.parametrize(
    ("ref", "listing", "expected"),
    [
        ("", f"{A}\tHEAD", A),
        ("main", f"{A}\trefs/heads/main", A),
        ("main", f"{B}\trefs/heads/x/main\n{A}\trefs/heads/main", A),
        ("v1", f"{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}", B),
        ("both", f"{A}\trefs/heads/both\n{B}\trefs/tags/both", B),
        ("refs/heads/main", f"{A}\trefs/heads/main", A),
        ("heads/main", f"warning: x\n{A}\trefs/heads/main", A),
    ],
    ids=["default", "branch", "suffix", "annotated tag", "tag before branch", "full name", "noise"],
)
def test_a_listing_names_the_commit_that_a_fetch_takes(ref: str, listing: str, expected: str) -> None:
    assert advertised_commit(parse_source(f"https://h/a#{ref}"), listing.splitlines(keepends=True)) == expected


@pytest.mark.parametrize("listing", ["", f"{A}\trefs/heads/x/main", "fatal\trefs/heads/main", "zz\trefs/heads/main"])
def test_a_listing_without_the_ref_is_not_found(listing: str) -> None:
    with pytest.raises(NotFoundError, match="the repository https://h/a has no branch or tag main"):
        advertised_commit(parse_source("https://u:p@h/a#main"), listing.splitlines())


def test_patterns_are_full_names() -> None:
    assert all(name.startswith("refs/") for name in remote_refs(parse_source("https://h/a#x")))


def test_git_gets_credentials_in_its_environment_alone() -> None:
    source = parse_source("https://user:w%40rd@h/a")
    environment = git_environment(source, {"GIT_DIR": "/x", "PATH": "/bin", "GIT_CONFIG_COUNT": "1"})
    assert environment["GIT_CONFIG_COUNT"] == "2"
    assert environment["GIT_CONFIG_KEY_1"] == "http.https://h/a.extraHeader"
    assert environment["GIT_CONFIG_VALUE_1"] == f"Authorization: Basic {b64encode(b'user:w@rd').decode()}"
    assert source.shown == "https://h/a"
    assert (environment["PATH"], environment["GIT_ALLOW_PROTOCOL"]) == ("/bin", "https:ssh")
    assert "GIT_DIR" not in environment
    assert "w%40rd" not in str(git_failure(source, "fatal: unable to access 'https://user:w%40rd@h/a/': x"))
