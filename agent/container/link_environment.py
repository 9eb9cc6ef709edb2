"""Environment variables that a link gives: `ALIAS_PORT…`, `ALIAS_NAME` and `ALIAS_ENV_…`, from the linked container. Pure.

The names are those of Docker's legacy links on the default bridge. Called for every start and exec, because the linked
container may have another address each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent.container.links import BRIDGE, Find, is_on_default_bridge, parse_link
from agent.container.model import ContainerConfig

_LEAST_RUN = 3
"""So many consecutive ports get variables of their range too."""
_LEFT_OUT = frozenset({"HOME", "PATH"})


class _Port(NamedTuple):
    protocol: str
    number: int


def link_environment(config: ContainerConfig, find: Find) -> tuple[str, ...]:
    """The variables of all links. A linked container that does not run gives none."""
    result: list[str] = []
    for link in config.links if is_on_default_bridge(config) else ():
        name, alias = parse_link(link)
        other = find(name)
        address = next((item.ip for item in other.config.networks if item.name == BRIDGE), "")
        if other.state.running and address:
            ports = _ports(other.config.exposed_ports)
            result += _variables(f"/{config.name}/{alias}", address, ports, other.config.env)
    return tuple(result)


def _variables(name: str, address: str, ports: Sequence[_Port], env: Sequence[str]) -> list[str]:
    prefix = name.rpartition("/")[2].upper().replace("-", "_")
    result = [f"{prefix}_PORT={_url(ports[0], address)}"] if ports else []
    for first, last in _runs(ports):
        key = _key(prefix, first)
        result += [
            f"{key}_START={_url(first, address)}",
            f"{key}_ADDR={address}",
            f"{key}_PROTO={first.protocol}",
            f"{key}_PORT_START={first.number}",
            f"{key}_END={_url(last, address)}",
            f"{key}_PORT_END={last.number}",
        ]
    for port in ports:
        key = _key(prefix, port)
        result += [
            f"{key}={_url(port, address)}",
            f"{key}_ADDR={address}",
            f"{key}_PORT={port.number}",
            f"{key}_PROTO={port.protocol}",
        ]
    result.append(f"{prefix}_NAME={name}")
    for item in env:
        key, equals, value = item.partition("=")
        if equals and key not in _LEFT_OUT:
            result.append(f"{prefix}_ENV_{key}={value}")
    return result


def _key(prefix: str, port: _Port) -> str:
    return f"{prefix}_PORT_{port.number}_{port.protocol.upper()}"


def _url(port: _Port, address: str) -> str:
    return f"{port.protocol}://{address}:{port.number}"


def _ports(exposed: Sequence[str]) -> list[_Port]:
    """The ports in order, TCP first."""
    found = []
    for text in exposed:
        number, _, protocol = text.partition("/")
        first, _, last = number.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found += [_Port(protocol or "tcp", port) for port in range(int(first), int(last or first) + 1)]
    return sorted(set(found), key=lambda port: (port.protocol != "tcp", port.number, port.protocol))


def _runs(ports: Sequence[_Port]) -> list[tuple[_Port, _Port]]:
    """First and last port of each run of consecutive ones."""
    runs: list[list[_Port]] = []
    for port in ports:
        if runs and port == _Port(runs[-1][-1].protocol, runs[-1][-1].number + 1):
            runs[-1].append(port)
        else:
            runs.append([port])
    return [(run[0], run[-1]) for run in runs if len(run) >= _LEAST_RUN]
