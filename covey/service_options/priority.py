"""The label `covey.priority`: whose tasks come first, and whose end for others when the cluster is full. Pure."""

import re

from covey.errors import InvalidArgumentError

PRIORITY_LABEL = "covey.priority"
MAX_PRIORITY = 1000
_NUMBER = re.compile(r"[+-]?[0-9]{1,4}")


def parse_priority(text: str) -> int:
    """The priority that a label says; 0 without one. Raises InvalidArgumentError if it is no number from -1000 to 1000."""
    if not text.strip():
        return 0
    number = int(text) if _NUMBER.fullmatch(text.strip()) else MAX_PRIORITY + 1
    if abs(number) > MAX_PRIORITY:
        raise InvalidArgumentError(
            f"label {PRIORITY_LABEL}: {text!r} is not a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}"
        )
    return number
