"""The labels `covey.affinity` and `covey.anti-affinity`: near or away from which services a service's tasks are placed. Pure.

A label is `TARGET[@SCOPE][,preferred]`, separated by `;`. TARGET is the name of a service or `label:KEY=VALUE` of services, SCOPE is
`node` (the default), `node.labels.NAME` or `engine.labels.NAME`.
"""

import re
from collections.abc import Mapping

from covey.errors import InvalidArgumentError
from covey.objects import Affinity, Annotations

AFFINITY_LABEL = "covey.affinity"
ANTI_AFFINITY_LABEL = "covey.anti-affinity"
MAX_TERMS = 32
NODE_SCOPE = "node"
SCOPE_FORM = "node.labels.NAME or engine.labels.NAME"

_SERVICE = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?")
_SCOPE = re.compile(r"(node|engine)\.labels\.(\S+)", re.IGNORECASE)
_OF_SERVICES = "label:"
_PREFERRED = "preferred"
_FORM = (
    "SERVICE or label:KEY=VALUE, each with [@node|@node.labels.NAME|@engine.labels.NAME][,preferred], separated by ;"
)


def parse_affinities(text: str) -> tuple[Affinity, ...]:
    """The terms of a label `covey.affinity`. Raises InvalidArgumentError, which names the label and the wrong term."""
    return _parse(AFFINITY_LABEL, text)


def parse_anti_affinities(text: str) -> tuple[Affinity, ...]:
    """The terms of a label `covey.anti-affinity`. Raises InvalidArgumentError, which names the label and the wrong term."""
    return _parse(ANTI_AFFINITY_LABEL, text)


def affinities_of(labels: Mapping[str, str]) -> tuple[Affinity, ...]:
    """What both labels of a service say. Raises InvalidArgumentError for a malformed one."""
    return (
        *parse_affinities(labels.get(AFFINITY_LABEL, "")),
        *parse_anti_affinities(labels.get(ANTI_AFFINITY_LABEL, "")),
    )


def label_of(term: Affinity) -> str:
    """The label that has such a term."""
    return ANTI_AFFINITY_LABEL if term.apart else AFFINITY_LABEL


def format_target(term: Affinity) -> str:
    """The services of a term and its scope, as in a label: ``db@node``."""
    target = term.service or f"{_OF_SERVICES}{term.label}={term.value}"
    return f"{target}@{term.scope or NODE_SCOPE}"


def aims_at(term: Affinity, service: Annotations) -> bool:
    """Whether a service with this name and these labels is among those of a term."""
    if term.service:
        return term.service == service.name
    return service.labels.get(term.label) == term.value


def parse_scope(text: str) -> str | None:
    """A label of nodes with its prefix in lower case; None if the text is none."""
    found = _SCOPE.fullmatch(text)
    return f"{found[1].casefold()}.labels.{found[2]}" if found else None


def _parse(label: str, text: str) -> tuple[Affinity, ...]:
    parts = text.split(";") if text.strip() else []
    if len(parts) > MAX_TERMS:
        raise _invalid(label, f"{len(parts)} terms are given, the limit is {MAX_TERMS}")
    found: dict[Affinity, Affinity] = {}
    for part in parts:
        term = _parse_term(label, part.strip())
        key = Affinity(service=term.service, label=term.label, value=term.value, scope=term.scope)
        if key in found:
            raise _invalid(label, f"{format_target(term)} is given twice")
        found[key] = term
    return tuple(found.values())


def _parse_term(label: str, part: str) -> Affinity:
    target, comma, flag = part.rpartition(",")
    target, flag = (target.strip(), flag.strip()) if comma else (part, "")
    if flag and flag != _PREFERRED:
        if not part.startswith(_OF_SERVICES):
            raise _invalid(label, f"{flag!r} of {target} is not {_PREFERRED}")
        target, flag = part, ""  # the comma belongs to the value of a label
    target, scope = _split_scope(label, target)
    fields = _target_fields(label, target, part)
    return Affinity(**fields, scope=scope, preferred=bool(flag), apart=label == ANTI_AFFINITY_LABEL)


def _split_scope(label: str, text: str) -> tuple[str, str]:
    target, at, scope = text.rpartition("@")
    if not at:
        return text, ""
    if scope.strip() == NODE_SCOPE:
        return target.strip(), ""
    found = parse_scope(scope.strip())
    if found is None:
        raise _invalid(label, f"scope {scope.strip()!r} of {target.strip()} is none")
    return target.strip(), found


def _target_fields(label: str, target: str, part: str) -> dict[str, str]:
    if target.startswith(_OF_SERVICES):
        key, equals, value = target[len(_OF_SERVICES) :].partition("=")
        if not key.strip() or not equals:
            raise _invalid(label, f"{part!r} names no label and value")
        return {"label": key.strip(), "value": value.strip()}
    if not _SERVICE.fullmatch(target):
        raise _invalid(label, f"{part!r} names no service")
    return {"service": target}


def _invalid(label: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"label {label}: {reason}; write {_FORM}")
