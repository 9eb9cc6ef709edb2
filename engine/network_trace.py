"""Traces of packets: reads the kernels of the hosts on the way, through the managers for those of others, and walks the path.

Invariant: only the namespaces are read that the path may touch, on at most `MAX_HOSTS` hosts.
"""

from collections.abc import Mapping

import msgspec

from agent.network.trace.model import Host, Question, Trace, View
from agent.network.trace.reading import decode
from agent.network.trace.resolve import needed
from agent.network.trace.walk import walk
from covey.errors import CoveyError
from engine.request_context import EngineServices
from engine.translate.network_trace import cluster_view, own_host, with_local

MAX_HOSTS = 32
_HOSTS_AT_A_TIME = 4
_NAMESPACES = 100
_ROUNDS = 3
"""The path may lead to a container that only its own host knows: then that is read, too."""


async def trace_path(services: EngineServices, question: Question) -> Trace:
    """The path of a packet. On a manager it may cross hosts; elsewhere what is not on this host is not known."""
    view = await _view(services)
    wanted = {host: set(keys) for host, keys in needed(view, question).items()}
    for _ in range(_ROUNDS):
        found = walk(await _with_readings(services, view, dict(list(wanted.items())[:MAX_HOSTS])), question)
        unread = {(host, key) for host, key in found.missing if key not in wanted.get(host, set())}
        if not unread:
            break
        for host, key in unread:
            wanted.setdefault(host, set()).add(key)
    return found


async def _view(services: EngineServices) -> View:
    view = View()
    if services.control_available:
        cluster = services.cluster
        view = cluster_view(
            await cluster.nodes(),
            await cluster.networks(),
            [service for service, _ in await cluster.services()],
            await cluster.tasks(with_attachments=True),
        )
    local = services.agent.endpoints.local.networks.list()
    own = own_host(view, services.node.node_id, services.node.hostname)
    return with_local(view, own, services.agent.containers.list(), local)


async def _with_readings(services: EngineServices, view: View, wanted: Mapping[str, set[str]]) -> View:
    own = own_host(view, services.node.node_id, services.node.hostname)
    hosts = dict(view.hosts)
    if own in wanted:
        hosts[own] = await _read_own(services, hosts[own], wanted[own])
    names = sorted(name for name in wanted if name != own and hosts[name].node_id)
    for first in range(0, len(names), _HOSTS_AT_A_TIME):
        group = names[first : first + _HOSTS_AT_A_TIME]
        keys = sorted({key for name in group for key in wanted[name]}, key=lambda key: ("/" in key, key))[:_NAMESPACES]
        hosts |= await _read_others(services, {name: hosts[name] for name in group}, keys)
    return msgspec.structs.replace(view, hosts=hosts)


async def _read_own(services: EngineServices, host: Host, keys: set[str]) -> Host:
    try:
        return msgspec.structs.replace(host, reading=decode(await services.agent.networks.read(sorted(keys))))
    except CoveyError as error:
        return msgspec.structs.replace(host, error=f"could not read its kernel: {error}")


async def _read_others(services: EngineServices, hosts: dict[str, Host], keys: list[str]) -> dict[str, Host]:
    answers = await services.cluster.read_networks([host.node_id for host in hosts.values()], keys)
    found: dict[str, Host] = {}
    for name, host in hosts.items():
        answer = answers.get(host.node_id)
        if answer is None or not answer.reading:
            error = answer.error if answer is not None and answer.error else "did not answer"
            found[name] = msgspec.structs.replace(host, error=error)
            continue
        try:
            found[name] = msgspec.structs.replace(host, reading=decode(answer.reading))
        except CoveyError as error:
            found[name] = msgspec.structs.replace(host, error=str(error))
    return found
