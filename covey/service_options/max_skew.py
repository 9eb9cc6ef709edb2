"""The label `covey.spread.max-skew`: how unevenly a service's tasks may be spread over the values of a node label. Pure.

A label is `N[@SCOPE]`, separated by `;`: at most N more tasks in one zone than in another. SCOPE is `node.labels.NAME` or
`engine.labels.NAME`; without it, the label of the service's first placement preference.
"""

from covey.errors import InvalidArgumentError
from covey.objects import MaxSkew
from covey.service_options.affinity import SCOPE_FORM, parse_scope

MAX_SKEW_LABEL = "covey.spread.max-skew"
MAX_LIMIT = 100_000
MAX_SCOPES = 8


def parse_max_skews(text: str) -> tuple[MaxSkew, ...]:
    """What a label says; an empty ``scope`` stands for the first placement preference.

    Raises:
        InvalidArgumentError: the label is malformed, or names a scope twice.
    """
    found = [_parse(part.strip()) for part in text.split(";")] if text.strip() else []
    if len({item.scope for item in found}) < len(found):
        raise _invalid(f"{text!r} gives two numbers for one label")
    if len(found) > MAX_SCOPES:
        raise _invalid(f"{len(found)} labels are given, the limit is {MAX_SCOPES}")
    return tuple(found)


def _parse(part: str) -> MaxSkew:
    number, at, scope = part.partition("@")
    if not (number.strip().isascii() and number.strip().isdecimal() and len(number) < len(str(MAX_LIMIT)) + 1):
        raise _invalid(f"{number!r} is no number of tasks")
    limit = int(number)
    if not 1 <= limit <= MAX_LIMIT:
        raise _invalid(f"{limit} is not between 1 and {MAX_LIMIT}")
    found = parse_scope(scope.strip()) if at else ""
    if found is None:
        raise _invalid(f"{scope.strip()!r} is no label of nodes")
    return MaxSkew(limit=limit, scope=found)


def _invalid(reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"label {MAX_SKEW_LABEL}: {reason}; write N[@LABEL] with a LABEL such as {SCOPE_FORM}, separated by ;"
    )
