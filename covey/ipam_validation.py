"""Validation of the addresses of a network: subnets, ranges, gateways and auxiliary addresses, in the words that Docker's clients know.

Pure. Called by the control API, and by the agent for networks of one host.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from covey.errors import InvalidArgumentError
from covey.objects.network import IPAMConfig

Subnet = IPv4Network | IPv6Network

MAX_SUBNETS = 64
_NEVER_ROUTED = {
    ip_network("127.0.0.0/8"): "loopback",
    ip_network("224.0.0.0/4"): "multicast",
    ip_network("::1/128"): "loopback",
    ip_network("ff00::/8"): "multicast",
}


def check_ipam(configs: Sequence[IPAMConfig], *, ipv6: bool) -> None:
    """Refuses addresses that contradict each other, also between the subnets of one network.

    Raises:
        InvalidArgumentError: with all that is wrong, one line each.
    """
    if len(configs) > MAX_SUBNETS:
        raise InvalidArgumentError(
            f"invalid network config: {len(configs)} subnets are over the limit of {MAX_SUBNETS}"
        )
    problems = address_problems(configs, ipv6=ipv6)
    subnets = [] if problems else [parse_subnet(config.subnet) for config in configs if config.subnet]
    for at, one in enumerate(subnets):
        problems += [
            f"invalid subnet {one}: it overlaps the subnet {other} of the same network"
            for other in subnets[:at]
            if overlap(one, other)
        ]
    if problems:
        raise InvalidArgumentError("invalid network config:\n" + "\n".join(problems))


def address_problems(configs: Sequence[IPAMConfig], *, ipv6: bool) -> list[str]:
    """What is wrong within each configuration. IPv6 subnets of a network without IPv6 are not looked at, as in Docker."""
    return [problem for config in configs for problem in _problems(config, ipv6=ipv6)]


def parse_subnet(text: str) -> Subnet:
    """The subnet, without host bits. Raises ValueError."""
    return ip_network(text, strict=False)


def overlap(one: Subnet, other: Subnet) -> bool:
    """Whether two subnets share an address; subnets of different families never do."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def _problems(config: IPAMConfig, *, ipv6: bool) -> Iterator[str]:
    if not config.subnet and not (config.ip_range or config.gateway or config.auxiliary_addresses):
        return
    host, slash, _ = config.subnet.partition("/")
    try:
        subnet = parse_subnet(config.subnet if slash else "")
    except ValueError:
        yield f"invalid subnet {config.subnet}: invalid CIDR block notation"
        return
    if subnet.version == 6 and not ipv6:
        return
    if ip_address(host) != subnet.network_address:
        yield f"invalid subnet {config.subnet}: it should be {subnet}"
    for reserved, use in _NEVER_ROUTED.items():
        if overlap(subnet, reserved) and subnet.prefixlen >= reserved.prefixlen:
            yield f"invalid subnet {config.subnet}: it is within {reserved}, the {use} addresses; choose another subnet"
    if config.ip_range:
        yield from _range_problems(config.ip_range, subnet)
    named = [(f"gateway {config.gateway}", config.gateway)] if config.gateway else []
    named += [(f"auxiliary address {name}", text) for name, text in sorted(config.auxiliary_addresses.items())]
    for what, text in named:
        problem = _address_problem(text, subnet)
        if problem:
            yield f"invalid {what}: {problem}"
    yield from _duplicates(config, subnet)


def _duplicates(config: IPAMConfig, subnet: Subnet) -> Iterator[str]:
    """A gateway or an auxiliary address that the subnet itself, or another of them, has already."""
    named = [(f"gateway ({config.gateway})", config.gateway)] if config.gateway else []
    named += [
        (f"secondary ip address ({name}:{text})", text) for name, text in sorted(config.auxiliary_addresses.items())
    ]
    taken = unusable_addresses(subnet)
    for what, text in named:
        if _address_problem(text, subnet):
            continue
        address = ip_address(text)
        if address in taken:
            yield f"failed to allocate {what}: Address already in use by {taken[address]}"
        taken.setdefault(address, what)


def unusable_addresses(subnet: Subnet) -> dict[IPv4Address | IPv6Address, str]:
    """The addresses of a subnet that nothing may have, and what they are. Subnets of one and two addresses have none."""
    if subnet.num_addresses <= 2:
        return {}
    found: dict[IPv4Address | IPv6Address, str] = {subnet.network_address: f"the subnet {subnet} itself"}
    if subnet.version == 4:
        found[subnet.broadcast_address] = f"the broadcasts of {subnet}"
    return found


def _range_problems(text: str, subnet: Subnet) -> Iterator[str]:
    host, slash, _ = text.partition("/")
    try:
        within = parse_subnet(text if slash else "")
    except ValueError:
        yield f"invalid ip-range {text}: invalid CIDR block notation"
        return
    if within.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
        return
    if within.prefixlen < subnet.prefixlen:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
    if ip_address(host) != within.network_address:
        yield f"invalid ip-range {text}: it should be {within}"
    if not overlap(within, subnet):
        yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"


def _address_problem(text: str, subnet: Subnet) -> str:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return "invalid address"
    if address.version != subnet.version:
        return f"parent subnet is an IPv{subnet.version} block"
    return "" if address in subnet else f"parent subnet {subnet} doesn't contain this address"
