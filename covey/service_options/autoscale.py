"""The labels `covey.autoscale…` of a replicated service: the bounds of its replicas and the load that they are to bear. Pure."""

import math
from collections.abc import Mapping
from urllib.parse import urlsplit

from covey.clock import MINUTE, SECOND
from covey.errors import InvalidArgumentError
from covey.objects.autoscale import Autoscale
from covey.quantities import parse_duration

PREFIX = "covey.autoscale."
MIN_LABEL = PREFIX + "min"
MAX_LABEL = PREFIX + "max"
CPU_LABEL = PREFIX + "cpu"
MEMORY_LABEL = PREFIX + "memory"
URL_LABEL = PREFIX + "prometheus.url"
QUERY_LABEL = PREFIX + "prometheus.query"
TARGET_LABEL = PREFIX + "prometheus.target"
COOLDOWN_UP_LABEL = PREFIX + "cooldown.up"
COOLDOWN_DOWN_LABEL = PREFIX + "cooldown.down"
STABILIZATION_LABEL = PREFIX + "stabilization"
LABELS = (
    MIN_LABEL, MAX_LABEL, CPU_LABEL, MEMORY_LABEL, URL_LABEL, QUERY_LABEL, TARGET_LABEL, COOLDOWN_UP_LABEL, COOLDOWN_DOWN_LABEL,
    STABILIZATION_LABEL,
)  # fmt: skip

DEFAULT_COOLDOWN_UP_NS = 30 * SECOND
DEFAULT_COOLDOWN_DOWN_NS = 5 * MINUTE
DEFAULT_STABILIZATION_NS = 2 * MINUTE
MAX_REPLICAS = 10_000
MAX_QUERY = 4096
_MAX_DURATION_NS = 24 * 60 * MINUTE


def parse_label(label: str, text: str) -> int | float | str:
    """The value of one of ``LABELS``: a count, a percentage, a number, nanoseconds or a text.

    Raises:
        InvalidArgumentError: the value is malformed; the message names the label.
    """
    if label in (MIN_LABEL, MAX_LABEL):
        return _count(label, text)
    if label in (CPU_LABEL, MEMORY_LABEL, TARGET_LABEL):
        return _number(label, text.removesuffix("%") if label != TARGET_LABEL else text)
    if label == URL_LABEL:
        return _url(text)
    if label == QUERY_LABEL:
        if len(text) > MAX_QUERY:
            raise _invalid(label, f"it has {len(text)} characters, the limit is {MAX_QUERY}")
        return text
    return _duration(label, text)


def read_autoscale(labels: Mapping[str, str]) -> Autoscale | None:
    """What labels say about autoscaling, or None.

    Raises:
        InvalidArgumentError: a label is malformed, missing, or contradicts another; the message names it.
    """
    found = {label: parse_label(label, labels[label]) for label in LABELS if labels.get(label)}
    if not found:
        return None
    _require_together(found)
    return Autoscale(
        min=int(found.get(MIN_LABEL, 1)),
        max=int(found[MAX_LABEL]),
        cpu_percent=float(found.get(CPU_LABEL, 0)),
        memory_percent=float(found.get(MEMORY_LABEL, 0)),
        prometheus_url=str(found.get(URL_LABEL, "")),
        prometheus_query=str(found.get(QUERY_LABEL, "")),
        prometheus_target=float(found.get(TARGET_LABEL, 0)),
        cooldown_up_ns=int(found.get(COOLDOWN_UP_LABEL, DEFAULT_COOLDOWN_UP_NS)),
        cooldown_down_ns=int(found.get(COOLDOWN_DOWN_LABEL, DEFAULT_COOLDOWN_DOWN_NS)),
        stabilization_ns=int(found.get(STABILIZATION_LABEL, DEFAULT_STABILIZATION_NS)),
    )


def _require_together(found: Mapping[str, int | float | str]) -> None:
    if MAX_LABEL not in found:
        raise _invalid(MAX_LABEL, "it is missing: say how many replicas there may be")
    if int(found.get(MIN_LABEL, 1)) > int(found[MAX_LABEL]):
        raise _invalid(MIN_LABEL, f"{found.get(MIN_LABEL, 1)} is more than the {found[MAX_LABEL]} of {MAX_LABEL}")
    for label in (URL_LABEL, QUERY_LABEL, TARGET_LABEL):
        given = [item for item in (URL_LABEL, QUERY_LABEL, TARGET_LABEL) if item in found]
        if given and label not in found:
            raise _invalid(label, f"it is missing beside {given[0]}")
    if not {CPU_LABEL, MEMORY_LABEL, QUERY_LABEL} & found.keys():
        raise _invalid(MAX_LABEL, f"there is no target: give {CPU_LABEL}, {MEMORY_LABEL} or {QUERY_LABEL}")


def _count(label: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= MAX_REPLICAS:
        raise _invalid(label, f"{text!r} is not a number of replicas from 1 to {MAX_REPLICAS}")
    return int(text)


def _number(label: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not math.isfinite(value) or value <= 0:
        raise _invalid(label, f"{text!r} is not a number above 0")
    return value


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not text.isprintable() or " " in text or len(text) > 1024:
        raise _invalid(URL_LABEL, f"{text[:100]!r} is not the address of a server such as http://prometheus:9090")
    return text.rstrip("/")


def _duration(label: str, text: str) -> int:
    try:
        value = parse_duration(text)
    except InvalidArgumentError as error:
        raise _invalid(label, error.message) from error
    if value > _MAX_DURATION_NS:
        raise _invalid(label, f"{text} is more than the limit of 24h")
    return value


def _invalid(label: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"label {label}: {reason}")
