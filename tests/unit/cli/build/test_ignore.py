"""Patterns of .dockerignore."""

import pytest

from cli.build.ignore import IgnorePatterns
from covey.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("lines", "path", "excluded"),
    [
        (["*.log"], "a.log", True), (["*.log"], "d/a.log", False), (["**/*.log"], "d/e/a.log", True), (["**/*.log"], "a.log", True),
        (["d"], "d/e/f", True), (["/d/"], "d/x", True), (["d/**"], "d/x/y", True), (["d/**"], "d", False), (["# a"], "# a", False),
        (["*", "!keep"], "keep", False), (["*", "!keep"], "other", True), (["d", "!d/k"], "d/k", False), (["!k", "*"], "k", True),
        (["a?c"], "abc", True), (["a?c"], "a/c", False), (["[a-c]x"], "bx", True), (["[^a-c]x"], "bx", False), (["\\*"], "*", True),
        (["./d/../e"], "e", True), (["", "  "], "a", False), (["a.c"], "abc", False),
    ],
)  # fmt: skip
def test_the_last_pattern_that_matches_decides(lines: list[str], path: str, excluded: bool) -> None:
    assert IgnorePatterns(lines).excludes(path) is excluded


def test_a_malformed_pattern_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"syntax error in pattern 'a\[b'"):
        IgnorePatterns(["a[b"])
