"""Parser of /etc/resolv.conf and the host's nameservers.

The file is read again for every question, because DHCP and VPN clients rewrite it.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_NAMESERVERS = 3  # the limit of the C library


class ResolverSettings(NamedTuple):
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> ResolverSettings:
    """Parse resolv.conf. The last `search` or `domain` line counts, as in the C library. Unknown lines are ignored."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", address, *_] if _is_address(address):
                nameservers.append(address)
            case ["search" | "domain", *domains]:
                search = tuple(domains)
            case ["options", *found]:
                options += found
            case _:
                pass
    return ResolverSettings(tuple(nameservers), search, tuple(options))


def host_nameservers(path: Path = RESOLV_CONF) -> tuple[str, ...]:
    """The host's current nameservers. Those on its loopback are kept: they are asked from the host's namespace."""
    try:
        return parse_resolv_conf(path.read_text()).nameservers[:MAX_NAMESERVERS]
    except OSError:
        return ()


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
