"""Placement constraints such as ``node.labels.zone==east``, placement preferences and platforms, matched against nodes.

Invariant: a constraint that parses can be decided for every node: as in Docker, no node meets one with an unknown key, and a preference for
an unknown descriptor changes nothing. Called by the control API (to refuse an invalid one), by the scheduler's
filters and by the orchestrator (to end tasks whose node no longer matches).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from covey.errors import InvalidArgumentError
from covey.image_platform import architecture_name
from covey.objects import Node, Placement, Platform
from covey.states import NodeRole

_OPERATORS = ("==", "!=")
_KEY = re.compile(r"[a-z_][a-z0-9\-_./]*", re.IGNORECASE)
_VALUE = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]*", re.IGNORECASE)
_LABELS = ("node.labels.", "engine.labels.")
_KEYS = ("node.id", "node.hostname", "node.ip", "node.role", "node.platform.os", "node.platform.arch")


class Constraint(msgspec.Struct, frozen=True):
    """A parsed constraint. ``equal`` is False for ``!=``."""

    key: str
    equal: bool
    value: str

    def __str__(self) -> str:
        return f"{self.key}{'==' if self.equal else '!='}{self.value}"

    def matches(self, node: Node) -> bool:
        if not _is_known(self.key):
            return False
        if self.key == "node.ip":
            return _address_in_network(node.status.addr, self.value) == self.equal
        actual = _node_value(self.key, node)
        expected = architecture_name(self.value) if self.key == "node.platform.arch" else self.value
        return (actual.casefold() == expected.casefold()) == self.equal


def parse_constraint(text: str) -> Constraint:
    """Parses one constraint. Raises InvalidArgumentError, which quotes the constraint and says what is wrong."""
    for operator in _OPERATORS:
        left, found, right = text.partition(operator)
        if found:
            break
    else:
        raise InvalidArgumentError(f"constraint expected one operator from ==, !=; the constraint is '{text}'")
    key, value = left.strip(), right.strip()
    if not _KEY.fullmatch(key):
        raise InvalidArgumentError(f"key '{key}' is invalid; the constraint is '{text}'")
    if not value or not _VALUE.fullmatch(value):
        raise InvalidArgumentError(f"value '{value}' is invalid; the constraint is '{text}'")
    lowered = key.casefold()
    if lowered in _KEYS:
        key = lowered
    if key == "node.ip":
        _require_network(text, value)
    return Constraint(key, operator == "==", value)


@lru_cache(maxsize=4096)
def parse_constraints(texts: tuple[str, ...]) -> tuple[Constraint, ...]:
    """Parses all constraints. Raises InvalidArgumentError for the first invalid one."""
    return tuple([parse_constraint(text) for text in texts])


def label_value(descriptor: str, node: Node) -> str:
    """A node's value of a label named as in a preference; empty if it has none, or if the descriptor names no label."""
    return _node_value(descriptor, node) if _is_label(descriptor.casefold()) else ""


def _is_label(key: str) -> bool:
    return any(key.startswith(prefix) and len(key) > len(prefix) for prefix in _LABELS)


def _is_known(key: str) -> bool:
    return key in _KEYS or _is_label(key.casefold())


def meets_constraints(placement: Placement | None, node: Node) -> bool:
    """Whether a node meets all constraints. Stored constraints are valid: the control API refuses the others."""
    if placement is None or not placement.constraints:
        return True
    return all_match(parse_constraints(placement.constraints), node)


def all_match(constraints: Iterable[Constraint], node: Node) -> bool:
    return all(constraint.matches(node) for constraint in constraints)


def platform_matches(platforms: Iterable[Platform], node: Node) -> bool:
    """Whether a node's platform is among those listed. An empty list or field matches every node."""
    actual = node.description.platform
    listed = False
    for platform in platforms:
        listed = True
        same_os = not platform.os or platform.os.casefold() == actual.os.casefold()
        architecture = architecture_name(platform.architecture)
        if same_os and (not architecture or architecture == architecture_name(actual.architecture)):
            return True
    return not listed


def _node_value(key: str, node: Node) -> str:
    lowered = key.casefold()
    if lowered.startswith("node.labels."):
        return node.spec.annotations.labels.get(key[len("node.labels.") :], "")
    if lowered.startswith("engine.labels."):
        return node.description.engine.labels.get(key[len("engine.labels.") :], "")
    match lowered:
        case "node.id":
            return node.id
        case "node.hostname":
            return node.description.hostname
        case "node.role":
            return NodeRole(node.role).name.lower()
        case "node.platform.os":
            return node.description.platform.os
        case _:
            return architecture_name(node.description.platform.architecture)


def _require_network(text: str, value: str) -> None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        message = f"invalid constraint '{text}': '{value}' is not an IP address or subnet"
        raise InvalidArgumentError(message) from error


def _address_in_network(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:  # the node has not reported its address yet
        return False
