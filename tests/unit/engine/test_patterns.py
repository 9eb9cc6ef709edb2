"""Regular expressions of list filters: those that could hold up the daemon are refused, the others match as before."""

import time

import pytest

from covey.errors import InvalidArgumentError
from engine.translate.filters import match_patterns
from engine.translate.patterns import compile_pattern

A_NAME = "a" * 255


@pytest.mark.parametrize("text", ["(a+)+$", "(a|a)*b", "(a*)*b", "a*a*a*b", "a?" * 30 + "a" * 30, "((a{1,99}){1,99})b"])
def test_a_pattern_that_may_take_too_long_is_refused(text: str):
    with pytest.raises(InvalidArgumentError, match="may take too long: use fewer repetitions"):
        match_patterns([text], A_NAME)


def test_a_pattern_has_a_greatest_length():
    assert match_patterns(["a" * 200], A_NAME)
    with pytest.raises(InvalidArgumentError, match="512 characters, not 513"):
        match_patterns(["a" * 513], A_NAME)


@pytest.mark.parametrize("text", ["^/?web-1$", "(web|db)-[0-9]+", "w.*-.*", "^web", "[a-z]{2,3}-1", ""])
def test_usual_patterns_match(text: str):
    assert match_patterns([text], "web-1")


@pytest.mark.parametrize("text", ["web[", "(?=w)", r"(w)\1", "(?<!w)eb", "*"])
def test_what_is_no_expression_for_docker_matches_nothing(text: str):
    assert compile_pattern(text) is None
    assert not match_patterns([text], "web-1")


def test_the_slowest_pattern_that_is_allowed_is_quick():
    began = time.thread_time()
    assert not match_patterns(["a*a*b"], A_NAME)
    assert time.thread_time() - began < 0.5
