"""Variables in a Dockerfile."""

import pytest

from agent.build.expansion import expand
from covey.errors import InvalidArgumentError

VALUES = {"A": "1", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A${A}x", "11x"), ("$NOPE.", "."), ("${NOPE:-d$A}", "d1"), ("${EMPTY:-d}", "d"), ("${EMPTY-d}", ""), ("${A:+y}", "y"),
        ("${NOPE:+y}", ""), ("\\$A", "$A"), ("'$A'", "$A"), ('"$A b"', "1 b"), ("${NOPE:-${A}}", "1"), ("$", "$"), ("${EMPTY+y}", "y"),
    ],
)  # fmt: skip
def test_variables_are_replaced(text: str, result: str) -> None:
    assert expand(text, VALUES) == result


def test_quotes_stay_in_a_file() -> None:
    assert expand("'$A' \"$A\" \\$A \\n", VALUES, quotes=False) == "'1' \"1\" $A \\n"


@pytest.mark.parametrize("text", ["${A", "${}", "${A%x}", "${NOPE:?missing}"])
def test_malformed_ones_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        expand(text, VALUES)
