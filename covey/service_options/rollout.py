"""The labels of a service that say how its tasks are run and moved: stopped, rebalanced, updated with canaries. Pure.

`covey.stopped` (true or false), `covey.rebalance` (auto or off), `covey.rebalance-after` (a duration), `covey.update.canary` (a number of
tasks) and `covey.update.canary-monitor` (a duration).
"""

from collections.abc import Mapping

from covey.errors import InvalidArgumentError
from covey.objects import RolloutOptions
from covey.quantities import parse_duration

STOPPED_LABEL = "covey.stopped"
REBALANCE_LABEL = "covey.rebalance"
REBALANCE_AFTER_LABEL = "covey.rebalance-after"
CANARY_LABEL = "covey.update.canary"
CANARY_MONITOR_LABEL = "covey.update.canary-monitor"
DEFAULT_REBALANCE_AFTER = "30s"
MAX_CANARIES = 100_000
_STOPPED = {"true": True, "false": False}
_REBALANCE = {"auto": True, "off": False}


def rollout_options(labels: Mapping[str, str], *, is_job: bool, is_global: bool) -> RolloutOptions:
    """The options that valid labels of a service mean.

    Raises:
        InvalidArgumentError: a label says nothing for a service of this mode, or without another label; the message names it.
    """
    given = {label: text for label, text in labels.items() if text}
    for label in (STOPPED_LABEL, CANARY_LABEL, CANARY_MONITOR_LABEL, REBALANCE_LABEL):
        if is_job and label in given:
            raise InvalidArgumentError(f"label {label}: a job has no tasks that stay and no updates; remove the label")
    if is_global and REBALANCE_LABEL in given:
        raise InvalidArgumentError(
            f"label {REBALANCE_LABEL}: a global service has a task on every node; remove the label"
        )
    _require_together(given, CANARY_MONITOR_LABEL, CANARY_LABEL)
    _require_together(given, REBALANCE_AFTER_LABEL, REBALANCE_LABEL)
    rebalance = parse_rebalance(given.get(REBALANCE_LABEL, "off"))
    after = given.get(REBALANCE_AFTER_LABEL, DEFAULT_REBALANCE_AFTER)
    return RolloutOptions(
        stopped=parse_stopped(given.get(STOPPED_LABEL, "false")),
        rebalance=rebalance,
        rebalance_after_ns=parse_rebalance_after(after) if rebalance else 0,
        canaries=parse_canaries(given[CANARY_LABEL]) if CANARY_LABEL in given else 0,
        canary_monitor_ns=parse_canary_monitor(given.get(CANARY_MONITOR_LABEL, "0")),
    )


def parse_stopped(text: str) -> bool:
    return _choice(STOPPED_LABEL, text, _STOPPED)


def parse_rebalance(text: str) -> bool:
    return _choice(REBALANCE_LABEL, text, _REBALANCE)


def parse_rebalance_after(text: str) -> int:
    """Nanoseconds."""
    return _duration(REBALANCE_AFTER_LABEL, text)


def parse_canary_monitor(text: str) -> int:
    """Nanoseconds."""
    return _duration(CANARY_MONITOR_LABEL, text)


def parse_canaries(text: str) -> int:
    """How many tasks are updated first."""
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:9]) <= MAX_CANARIES or len(text) > len("100000"):
        raise InvalidArgumentError(
            f"label {CANARY_LABEL}: {text!r} is not a number of tasks; write 1 to {MAX_CANARIES}"
        )
    return int(text)


def _choice(label: str, text: str, choices: Mapping[str, bool]) -> bool:
    if text not in choices:
        raise InvalidArgumentError(f"label {label}: {text!r} is unknown; write {' or '.join(choices)}")
    return choices[text]


def _duration(label: str, text: str) -> int:
    try:
        return parse_duration(text)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"label {label}: {error.message}") from error


def _require_together(given: Mapping[str, str], label: str, needed: str) -> None:
    if label in given and needed not in given:
        raise InvalidArgumentError(f"label {label} means nothing without {needed}: set both or none")
