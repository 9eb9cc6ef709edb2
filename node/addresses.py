"""Advertise and listen addresses of this host: chosen from what the user wrote, an interface, or the only address there is.

Pure, except ``local_addresses``, which asks the kernel, and ``resolve_manager_host``, which asks the resolver.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Sequence

import msgspec

from covey.errors import InvalidArgumentError

JOIN_PORT = 2377
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})
"""Listening at one of these means listening at all addresses of the host."""
LOOKUP_SECONDS = 10.0
_OWN_ALIAS = "covey "
"""How the alias of a device begins that the network driver made."""
_VIRTUAL = ("docker", "covey", "veth", "br-", "virbr", "cni")


class LocalAddress(msgspec.Struct, frozen=True):
    """An IPv4 or global IPv6 address on one of the host's interfaces."""

    interface: str
    address: str


def local_addresses() -> tuple[LocalAddress, ...]:
    """This host's addresses, without loopback and link-local ones, and without those of its networks of containers."""
    from agent.network.pyroute import IPRoute

    with IPRoute() as ip:
        links = [link for link in ip.get_links() if not str(link.get("ifalias") or "").startswith(_OWN_ALIAS)]
        names = {link["index"]: link.get("ifname") for link in links}
        found = [
            LocalAddress(names[item["index"]], item.get("address")) for item in ip.get_addr() if item["index"] in names
        ]
    return tuple(
        item
        for item in found
        if not (address := ipaddress.ip_address(item.address)).is_loopback and not address.is_link_local
    )


def is_local(address: str, local: Sequence[LocalAddress]) -> bool:
    """Whether an address belongs to this host. A loopback address always does, and so does an empty one."""
    return not address or ipaddress.ip_address(address).is_loopback or any(item.address == address for item in local)


def split_port(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of ``HOST``, ``HOST:PORT`` or ``[V6]:PORT``.

    Raises:
        InvalidArgumentError: the port is invalid.
    """
    host, _, port = text.rpartition(":") if text.count(":") == 1 or text.startswith("[") else (text, "", "")
    if text.startswith("[") and text.endswith("]"):
        host, port = text, ""
    if port and not (port.isdigit() and 0 < int(port) < 1 << 16):
        raise InvalidArgumentError(f"address {text!r} has no valid port")
    return host.strip("[]"), int(port) if port else default_port


async def resolve_manager_host(text: str, port: int) -> str:
    """The host of a manager given as ``HOST`` or ``HOST:PORT``.

    Raises:
        InvalidArgumentError: it is neither an address nor a name that this host can resolve.
    """
    host, _ = split_port(text, port)
    if reason := await _resolve_error(host):
        raise InvalidArgumentError(
            f"{text!r} is neither an address nor a name that this host can resolve ({reason}): give HOST or HOST:PORT of a manager"
        )
    return host


async def _resolve_error(host: str) -> str:
    if not host.strip():
        return "the host is empty"  # the resolver would take it for this host
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        return str(error) or f"no answer within {LOOKUP_SECONDS:g} s"
    return ""


def host_of(text: str) -> str:
    """The host of ``HOST`` or ``HOST:PORT``."""
    return split_port(text, 0)[0]


def join_host_port(host: str, port: int) -> str:
    """``HOST:PORT``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve_address(text: str, local: Sequence[LocalAddress]) -> str:
    """The IP address of a text that is an address or the name of an interface.

    Raises:
        InvalidArgumentError: it is neither, or the interface has no address or several.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    own = [item.address for item in local if item.interface == text]
    if not own:
        raise InvalidArgumentError(f"{text!r} is neither an IP address nor an interface of this host that has one")
    v4 = [address for address in own if "." in address]
    if len(v4 or own) > 1:
        raise InvalidArgumentError(f"interface {text} has several addresses ({', '.join(own)}): specify one of them")
    return (v4 or own)[0]


def choose_advertise_address(advertise: str, local: Sequence[LocalAddress]) -> str:
    """The address to advertise: the given one, or else the only one of the host. It must be IPv4, over which nodes and managers talk.

    Raises:
        InvalidArgumentError: there is none, there are several, or the given one is IPv6 or not of this host.
    """
    if advertise:
        return _require_local(_require_ipv4(resolve_address(advertise, local), advertise), local)
    candidates = [item for item in local if not item.interface.startswith(_VIRTUAL) and "." in item.address]
    if not candidates:
        raise InvalidArgumentError(
            "this host has no IPv4 address to advertise, and nodes and managers talk over IPv4: specify one with --advertise-addr"
        )
    if len(candidates) > 1:
        listed = ", ".join(f"{item.address} on {item.interface}" for item in candidates)
        raise InvalidArgumentError(
            "could not choose an IP address to advertise since this system has multiple addresses "
            f"({listed}) - specify one with --advertise-addr"
        )
    return candidates[0].address


def choose_data_path_address(text: str, local: Sequence[LocalAddress]) -> str:
    """The address of this host for traffic between containers; empty if the advertise address is used.

    Raises:
        InvalidArgumentError: it is not an address of this host, or link-local.
    """
    if not text:
        return ""
    address = resolve_address(text, local)
    if ipaddress.ip_address(address).is_link_local:
        raise InvalidArgumentError(
            f"the data path address {text} is link-local, and other nodes cannot reach it: specify another one with --data-path-addr"
        )
    if not is_local(address, local):
        raise InvalidArgumentError(
            f"the data path address {text} is not an address of this host, which has "
            f"{', '.join(item.address for item in local) or 'none'}: specify one of these with --data-path-addr"
        )
    return address


def choose_addresses(advertise: str, listen: str, default: str, local: Sequence[LocalAddress]) -> tuple[str, str]:
    """The addresses to advertise and to listen at. ``default`` is advertised if neither is given. A worker's listen address is checked
    too, because it is used after a promotion, when no user is there to see the error.

    Raises:
        InvalidArgumentError: as ``choose_advertise_address``; or this host cannot listen there, or other nodes would use another address.
    """
    if listen in ANY_ADDRESS:
        return choose_advertise_address(advertise or default, local), listen or "0.0.0.0"
    bound = resolve_address(listen, local)
    if ":" in bound or not is_local(bound, local):
        raise InvalidArgumentError(
            f"cannot listen at {bound}: it is not one of this host's IPv4 addresses "
            f"({', '.join(_ipv4_addresses(local)) or 'there are none'}): "
            "omit --listen-addr to listen at all of them, or use one of these"
        )
    advertised = choose_advertise_address(advertise or bound, local)
    if advertised != bound:
        raise InvalidArgumentError(
            f"this host would listen only at {bound}, but advertise {advertised} to other nodes: omit --listen-addr, or use the same "
            "address for --advertise-addr"
        )
    return advertised, bound


def replacement_address(default: str, local: Sequence[LocalAddress]) -> str:
    """A new advertise address for a host that has lost its old one: the daemon's default if the host has it, else the only one.

    Raises:
        InvalidArgumentError: there is none, or there are several.
    """
    if default:
        with contextlib.suppress(InvalidArgumentError):
            return choose_advertise_address(default, local)
    return choose_advertise_address("", local)


def _require_local(address: str, local: Sequence[LocalAddress]) -> str:
    """Tunnel packets have this source address. With one of another machine, such as a NAT, they would be lost without an error."""
    own = _ipv4_addresses(local)
    if address not in own and not ipaddress.ip_address(address).is_loopback:
        raise InvalidArgumentError(
            f"{address} is not an address of this host, which has {', '.join(own) or 'none'}, and overlay networks need a local one: "
            "specify one of these with --advertise-addr"
        )
    return address


def _ipv4_addresses(local: Sequence[LocalAddress]) -> list[str]:
    return [item.address for item in local if "." in item.address]


def _require_ipv4(address: str, text: str) -> str:
    if ":" in address:
        named = address if text == address else f"{text} ({address})"
        raise InvalidArgumentError(
            f"{named} cannot be advertised: nodes and managers talk over IPv4; specify an IPv4 address of this host with "
            "--advertise-addr, and the IPv6 address with --data-path-addr for the traffic between containers"
        )
    return address
