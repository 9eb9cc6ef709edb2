"""Which object a name in a question means, and what has to be read to answer it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address

from agent.network.namespace_state import HOST, container_key, network_key
from agent.network.trace.model import Endpoint, Question, TracedService, View

OUTSIDE, TASKS = "outside@", "tasks."
_SHORTEST_ID = 4
MAX_BACKENDS = 32


def split_outside(source: str) -> str:
    """The host of `outside@HOST`, else empty."""
    return source.removeprefix(OUTSIDE) if source.startswith(OUTSIDE) else ""


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def endpoint_of(view: View, name: str) -> Endpoint | None:
    """A container or task by one of its names, or by its id or the beginning of it."""
    for one in view.endpoints:
        if name == one.name or name in one.names or name == one.container_id:
            return one
    if len(name) < _SHORTEST_ID:
        return None
    found = [one for one in view.endpoints if one.container_id.startswith(name)]
    return found[0] if len(found) == 1 else None


def service_of(view: View, name: str) -> TracedService | None:
    """A service by its name, its id or an alias, or by `tasks.NAME`."""
    bare = name.removeprefix(TASKS)
    found = next((one for one in view.services if bare in {one.name, one.id}), None)
    return found or next((one for one in view.services if name in one.aliases), None)


def host_of(view: View, name: str) -> str | None:
    return next((key for key, one in view.hosts.items() if name and name in {key, one.node_id}), None)


def owner_of(view: View, address: str, networks: Collection[str]) -> Endpoint | None:
    """The endpoint with an address on one of these networks."""
    for one in view.endpoints:
        if any(each.network in networks and address in each.addresses for each in one.attachments):
            return one
    return None


def endpoints_of(view: View, service: TracedService) -> list[Endpoint]:
    return [one for one in view.endpoints if one.service == service.id]


def needed(view: View, question: Question) -> Mapping[str, frozenset[str]]:
    """The namespaces to read, by host: of the source, and of all that the target may be."""
    wanted: dict[str, set[str]] = {}
    source = endpoint_of(view, question.source) if not split_outside(question.source) else None
    for host in (host_of(view, split_outside(question.source) or question.source), host_of(view, question.target)):
        if host is not None:
            wanted.setdefault(host, set()).add(HOST)
    ends = [source] if source else []
    ends += _targets(view, question)[:MAX_BACKENDS]
    for end in ends:
        keys = wanted.setdefault(end.host, set())
        keys |= {HOST, container_key(end.container_id)}
        keys |= {network_key(one.network) for one in end.attachments if view.networks[one.network].overlay}
    for name, known in view.hosts.items():
        if known.address == question.target:
            wanted.setdefault(name, set()).add(HOST)
    for key in {one.network for one in source.attachments} if source else ():
        if view.networks[key].overlay:
            wanted[source.host if source else ""].add(network_key(key))
    return {host: frozenset(keys) for host, keys in wanted.items()}


def _targets(view: View, question: Question) -> list[Endpoint]:
    published = f"{question.protocol} {question.port}"
    found: dict[str, Endpoint] = {}
    if one := endpoint_of(view, question.target):
        found[one.container_id] = one
    for service in view.services:
        vips = {vip for each in service.vips.values() for vip in each}
        if service_of(view, question.target) is service or question.target in vips or published in service.published:
            found |= {one.container_id: one for one in endpoints_of(view, service)}
    for one in view.endpoints:
        if published in one.published or any(question.target in each.addresses for each in one.attachments):
            found[one.container_id] = one
    return list(found.values())
