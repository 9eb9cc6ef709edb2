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
"""A host that listens there listens at all of its addresses."""
LOOKUP_SECONDS = 10.0
_VIRTUAL = ("docker", "covey", "veth", "br-", "virbr", "cni")


class LocalAddress(msgspec.Struct, frozen=True):
    """An IPv4 or global IPv6 address on one of the host's interfaces."""

    interface: str
    address: str


def local_addresses() -> tuple[LocalAddress, ...]:
    """This host's addresses, loopback and link-local ones left out."""
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        names = {link["index"]: link.get("ifname") for link in ip.get_links()}
        found = [LocalAddress(names[item["index"]], item.get("address")) for item in ip.get_addr()]
    return tuple(
        item
        for item in found
        if not (address := ipaddress.ip_address(item.address)).is_loopback and not address.is_link_local
    )


def is_local(address: str, local: Sequence[LocalAddress]) -> bool:
    """Whether an address is of this host; loopback ones always are, and so is none."""
    return not address or ipaddress.ip_address(address).is_loopback or any(item.address == address for item in local)


def split_port(text: str, default_port: int) -> tuple[str, int]:
    """``HOST``, ``HOST:PORT`` or ``[V6]:PORT``.

    Raises:
        InvalidArgumentError: the port is no port.
    """
    host, _, port = text.rpartition(":") if text.count(":") == 1 or text.startswith("[") else (text, "", "")
    if text.startswith("[") and text.endswith("]"):
        host, port = text, ""
    if port and not (port.isdigit() and 0 < int(port) < 1 << 16):
        raise InvalidArgumentError(f"address {text!r} has no valid port")
    return host.strip("[]"), int(port) if port else default_port


async def resolve_manager_host(text: str, port: int) -> str:
    """The host of ``HOST`` or ``HOST:PORT`` where a manager is said to be.

    Raises:
        InvalidArgumentError: it is no address, and no name that this host knows.
    """
    host, _ = split_port(text, port)
    if reason := await _unknown(host):
        raise InvalidArgumentError(
            f"{text!r} is neither an address nor a name that this host knows ({reason}): give HOST or HOST:PORT of a manager"
        )
    return host


async def _unknown(host: str) -> str:
    if not host.strip():
        return "no host is named"  # which the resolver takes for this host
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        return str(error) or f"no answer within {LOOKUP_SECONDS:g} s"
    return ""


def host_without_port(text: str, port: int) -> str:
    """The host of ``HOST`` or ``HOST:PORT``, where the port can only be the daemon's own. Docker's clients say 0.0.0.0:2377 for a user
    who said nothing.

    Raises:
        InvalidArgumentError: another port is named.
    """
    host, named = split_port(text, port)
    if named != port and not (host in ANY_ADDRESS and named == JOIN_PORT):
        added = " (which docker adds where --listen-addr names none)" if named == JOIN_PORT else ""
        raise InvalidArgumentError(
            f"{text!r} names port {named}{added}, and this daemon is joined on {port}: write {join_host_port(host, port)}, or start coveyd "
            f"with --join-port {named}"
        )
    return host


def join_host_port(host: str, port: int) -> str:
    """``HOST:PORT``, with brackets round an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve_address(text: str, local: Sequence[LocalAddress]) -> str:
    """The IP address that a user's word means: an address itself or the name of an interface.

    Raises:
        InvalidArgumentError: neither, or an interface with no address or several.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    here = [item.address for item in local if item.interface == text]
    if not here:
        raise InvalidArgumentError(f"{text!r} is neither an IP address nor an interface of this host with one")
    v4 = [address for address in here if "." in address]
    if len(v4 or here) > 1:
        raise InvalidArgumentError(f"interface {text} has several addresses ({', '.join(here)}): specify one of them")
    return (v4 or here)[0]


def choose_advertise_address(advertise: str, local: Sequence[LocalAddress]) -> str:
    """The address to advertise: the one that is named, else the only one of the host. It is IPv4, for overlay networks have their
    tunnels between these addresses.

    Raises:
        InvalidArgumentError: there is none, or more than one to choose from, or it is IPv6, or not of this host.
    """
    if advertise:
        return _require_local(_require_ipv4(resolve_address(advertise, local), advertise), local)
    candidates = [item for item in local if not item.interface.startswith(_VIRTUAL) and "." in item.address]
    if not candidates:
        raise InvalidArgumentError(
            "this host has no IPv4 address to advertise, which overlay networks need: specify one with --advertise-addr"
        )
    if len(candidates) > 1:
        listed = ", ".join(f"{item.address} on {item.interface}" for item in candidates)
        raise InvalidArgumentError(
            "could not choose an IP address to advertise since this system has multiple addresses "
            f"({listed}) - specify one with --advertise-addr"
        )
    return candidates[0].address


def choose_addresses(advertise: str, listen: str, default: str, local: Sequence[LocalAddress]) -> tuple[str, str]:
    """The addresses to advertise and to listen at, by the user's words; ``standard`` is advertised where they name neither. A worker's are
    checked as well: it listens once it is promoted, when nobody is there to hear of a mistake.

    Raises:
        InvalidArgumentError: as ``choose``; or nobody can listen there, or other nodes would call another address.
    """
    if listen in ANY_ADDRESS:
        return choose_advertise_address(advertise or default, local), listen or "0.0.0.0"
    bound = resolve_address(listen, local)
    if ":" in bound or not is_local(bound, local):
        raise InvalidArgumentError(
            f"cannot listen at {bound}: it is not one of this host's IPv4 addresses "
            f"({', '.join(_ipv4_addresses(local)) or 'there are none'}): "
            "leave --listen-addr away to listen at all, or name one of these"
        )
    advertised = choose_advertise_address(advertise or bound, local)
    if advertised != bound:
        raise InvalidArgumentError(
            f"this host would listen at {bound} alone, and other nodes would call it at {advertised}, which it advertises: leave "
            "--listen-addr away, or name the same address with --advertise-addr"
        )
    return advertised, bound


def replacement_address(default: str, local: Sequence[LocalAddress]) -> str:
    """The address of a host that lost the one it advertised: the standard one of its daemon if it has that, else the only one there is.

    Raises:
        InvalidArgumentError: there is none, or more than one to choose from.
    """
    if default:
        with contextlib.suppress(InvalidArgumentError):
            return choose_advertise_address(default, local)
    return choose_advertise_address("", local)


def _require_local(address: str, local: Sequence[LocalAddress]) -> str:
    """A tunnel's packets leave with this address; with one of another machine (or of a NAT in front) they would be lost in silence."""
    here = _ipv4_addresses(local)
    if address not in here and not ipaddress.ip_address(address).is_loopback:
        raise InvalidArgumentError(
            f"{address} is not an address of this host, which has {', '.join(here) or 'none'}: tunnels of overlay networks "
            "start there; specify one of these with --advertise-addr"
        )
    return address


def _ipv4_addresses(local: Sequence[LocalAddress]) -> list[str]:
    return [item.address for item in local if "." in item.address]


def _require_ipv4(address: str, word: str) -> str:
    if ":" in address:
        named = address if word == address else f"{word} ({address})"
        raise InvalidArgumentError(
            f"{named} cannot be advertised: overlay networks need an IPv4 address of this host, and Covey has no IPv6 "
            "between hosts yet; specify one with --advertise-addr"
        )
    return address
