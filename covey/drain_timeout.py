"""The label `covey.drain.timeout` of a node: how long a drain waits for replacements that run elsewhere. Pure."""

from collections.abc import Mapping

from covey.clock import MINUTE
from covey.errors import InvalidArgumentError
from covey.quantities import parse_duration

DRAIN_TIMEOUT_LABEL = "covey.drain.timeout"
DEFAULT_DRAIN_TIMEOUT_NS = 10 * MINUTE


def drain_timeout_ns(labels: Mapping[str, str]) -> int:
    """Nanoseconds; 0 means that no task stays on a node that is drained.

    Raises:
        InvalidArgumentError: the label is no duration.
    """
    text = labels.get(DRAIN_TIMEOUT_LABEL, "")
    if not text:
        return DEFAULT_DRAIN_TIMEOUT_NS
    try:
        return parse_duration(text)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"label {DRAIN_TIMEOUT_LABEL}: {error.message}") from error
