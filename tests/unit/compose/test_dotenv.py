"""``.env`` files as Docker Compose reads them."""

import pytest

from compose.dotenv import parse_dotenv
from covey.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB = 2\nexport C=3\nD: 4", {"A": "1", "B": "2", "C": "3", "D": "4"}),
        ("# note\n\n  A=1 # note\nB=a#b\nC='x # y' # z", {"A": "1", "B": "a#b", "C": "x # y"}),
        ('A="two\nlines"\nB="a\\nb"\nC=\'a\\nb\'', {"A": "two\nlines", "B": "a\nb", "C": "a\\nb"}),
        ("A=1\nB=$A-${A}-${U:-x}\nC='$A'\nD=\"$A\"", {"A": "1", "B": "1-1-x", "C": "$A", "D": "1"}),
        ("A=\nB\nSHELL_SET", {"A": "", "B": None, "SHELL_SET": "s"}),
        ("A=a\r\nB=b\r\n", {"A": "a", "B": "b"}),
        ("﻿A=1", {"A": "1"}),
        ('A="say \\"hi\\""', {"A": 'say "hi"'}),
        ("A=$SHELL_SET", {"A": "s"}),
    ],
)
def test_variables_are_read(text: str, values: dict[str, str | None]) -> None:
    assert parse_dotenv(text, {"SHELL_SET": "s"}, "f") == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nnot a variable", "f:2: unexpected character in variable name"),
        ('A="open', 'f:1: unterminated quoted value "open'),
        ("A=1\n\nB=${C:?must be set}", "f:3: required variable C is missing a value: must be set"),
        ("=1", "f:1: unexpected character in variable name"),
    ],
)
def test_an_error_names_the_line(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_dotenv(text, {}, "f")
    assert caught.value.message == message
