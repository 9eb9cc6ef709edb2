"""The subnets of a new network, from ``--subnet`` and the flags that belong to one of them. Pure."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from covey.errors import InvalidArgumentError


def subnet_configs(
    subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], auxiliary: Mapping[str, str]
) -> list[dict[str, Any]]:
    """IPAM.Config: each range, gateway and auxiliary address goes to the subnet that contains it.

    Raises:
        InvalidArgumentError: in Docker's words, what does not fit.
    """
    if len(subnets) < max(len(ranges), len(gateways)):
        raise InvalidArgumentError("every ip-range or gateway must have a corresponding subnet")
    networks = [_network(subnet) for subnet in subnets]
    for index, one in enumerate(networks):
        if any(_contains(one, other) or _contains(other, one) for other in networks[:index]):
            raise InvalidArgumentError("multiple overlapping subnet configuration is not supported")
    configs: list[dict[str, Any]] = [{"Subnet": subnet} for subnet in subnets]
    for text in ranges:
        _set_once(
            _config_of(networks, configs, _network(text), f"no matching subnet for range {text}"), "IPRange", text
        )
    for text in gateways:
        _set_once(
            _config_of(networks, configs, _address(text), f"no matching subnet for gateway {text}"), "Gateway", text
        )
    for name, text in auxiliary.items():
        config = _config_of(networks, configs, _address(text), f"no matching subnet for aux-address {text}")
        config.setdefault("AuxiliaryAddresses", {})[name] = text
    return configs


def _config_of(
    networks: Sequence[IPv4Network | IPv6Network],
    configs: Sequence[dict[str, Any]],
    part: IPv4Network | IPv6Network,
    refusal: str,
) -> dict[str, Any]:
    for network, config in zip(networks, configs, strict=True):
        if _contains(network, part):
            return config
    raise InvalidArgumentError(refusal)


def _set_once(config: dict[str, Any], key: str, text: str) -> None:
    if key in config:
        kind = {"IPRange": "ranges", "Gateway": "gateways"}[key]
        raise InvalidArgumentError(
            f"cannot configure multiple {kind} ({text}, {config[key]}) on the same subnet ({config['Subnet']})"
        )
    config[key] = text


def _contains(whole: IPv4Network | IPv6Network, part: IPv4Network | IPv6Network) -> bool:
    if isinstance(whole, IPv4Network) and isinstance(part, IPv4Network):
        return part.subnet_of(whole)
    return isinstance(whole, IPv6Network) and isinstance(part, IPv6Network) and part.subnet_of(whole)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgumentError(f"invalid CIDR address: {text}") from None


def _address(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(ip_address(text))
    except ValueError:
        raise InvalidArgumentError(f"invalid IP address: {text}") from None
