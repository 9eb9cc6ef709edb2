"""The labels with the prefix `covey.` that a service may have, and their check. Pure.

Invariant: a service has no label with the prefix that Covey does not know, so that a typing error is noticed when the service is
created. A new option is a row here.
"""

import difflib
from collections.abc import Callable, Mapping
from functools import partial

from covey.errors import InvalidArgumentError
from covey.service_dependencies import DEPENDS_ON_LABEL, parse_dependencies
from covey.service_options import autoscale, hooks, privileges, rollout, schedule
from covey.service_options.affinity import (
    AFFINITY_LABEL,
    ANTI_AFFINITY_LABEL,
    parse_affinities,
    parse_anti_affinities,
)
from covey.service_options.max_skew import MAX_SKEW_LABEL, parse_max_skews
from covey.service_options.priority import PRIORITY_LABEL, parse_priority

PREFIX = "covey."

LABELS: dict[str, Callable[[str], object]] = {
    AFFINITY_LABEL: parse_affinities,
    ANTI_AFFINITY_LABEL: parse_anti_affinities,
    DEPENDS_ON_LABEL: parse_dependencies,
    hooks.POST_START_LABEL: hooks.parse_post_start,
    hooks.PRE_STOP_LABEL: hooks.parse_pre_stop,
    privileges.PRIVILEGED_LABEL: privileges.parse_privileged,
    privileges.DEVICES_LABEL: privileges.parse_devices,
    schedule.SCHEDULE_LABEL: schedule.parse_expression,
    schedule.TIMEZONE_LABEL: schedule.parse_timezone,
    schedule.CONCURRENCY_LABEL: schedule.parse_concurrency,
    schedule.HISTORY_LABEL: schedule.parse_history,
    schedule.MISSED_LABEL: schedule.parse_missed,
    schedule.DEADLINE_LABEL: schedule.parse_deadline,
    **{label: partial(autoscale.parse_label, label) for label in autoscale.LABELS},
    rollout.STOPPED_LABEL: rollout.parse_stopped,
    rollout.REBALANCE_LABEL: rollout.parse_rebalance,
    rollout.REBALANCE_AFTER_LABEL: rollout.parse_rebalance_after,
    rollout.CANARY_LABEL: rollout.parse_canaries,
    rollout.CANARY_MONITOR_LABEL: rollout.parse_canary_monitor,
    MAX_SKEW_LABEL: parse_max_skews,
    PRIORITY_LABEL: parse_priority,
}
"""What parses the value of a label; it raises InvalidArgumentError that names the label and the accepted form."""

LABEL_FAMILIES: dict[str, Callable[[str, str], object]] = {
    "covey.stack.": lambda _label, _value: None,  # written by `covey stack deploy`
}
"""What parses label and value of labels whose names have a free part, by the beginning of the name."""


def check_labels(labels: Mapping[str, str]) -> None:
    """Checks every label that has the prefix. An empty value means that the option is not set.

    Raises:
        InvalidArgumentError: a label is unknown or its value malformed; the message names the label.
    """
    for label, value in labels.items():
        if label.startswith(PREFIX):
            _check(label, value)


def _check(label: str, value: str) -> None:
    family = next((parse for prefix, parse in LABEL_FAMILIES.items() if label.startswith(prefix)), None)
    if family is not None:
        family(label, value)
    elif label not in LABELS:
        raise InvalidArgumentError(_unknown(label))
    elif value:
        LABELS[label](value)


def _unknown(label: str) -> str:
    near = difflib.get_close_matches(label, LABELS, n=1)
    remedy = f"did you mean {near[0]}?" if near else "labels with the prefix covey. are options of Covey"
    return f"label {label} is not known: {remedy}"
