"""The labels of hooks: a line for the shell, or Compose's list."""

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import Hook
from covey.service_options.hooks import parse_post_start, parse_pre_stop


def test_a_line_is_run_by_the_shell() -> None:
    assert parse_pre_stop("drain && sleep 1") == (Hook(command=("/bin/sh", "-c", "drain && sleep 1")),)


def test_a_list_is_that_of_compose() -> None:
    text = (
        '[{"command": ["a", "b"], "user": "app", "working_dir": "/w", "environment": {"A": "1"}}, {"command": "x y"}]'
    )
    assert parse_post_start(text) == (
        Hook(command=("a", "b"), user="app", dir="/w", env=("A=1",)),
        Hook(command=("/bin/sh", "-c", "x y")),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "the list is no JSON"),
        ("[1]", "hook 0 is not an object"),
        ('[{"command": []}]', "hook 0 needs a command"),
        ('[{"command": "a", "privileged": true}]', "hook 0: privileged is unknown"),
        ('[{"command": "a", "environment": 3}]', "hook 0: environment is"),
        ('[{"command": "a", "user": 3}]', "hook 0: user and working_dir are texts"),
        (str([{"command": "a"}] * 17).replace("'", '"'), "17 hooks are given, the limit is 16"),
    ],
)
def test_a_malformed_hook_is_refused_with_its_label(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"label covey.hook.post-start: {reason}"):
        parse_post_start(text)
