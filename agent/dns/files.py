"""The files by which a container finds its resolver and itself, and the host's own resolvers.

Law: text in, text out; who writes it into the container is the worker. A container in the host's network gets the host's file as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

RESOLVER_ADDRESS = "127.0.0.11"
HOST_FILE = Path("/etc/resolv.conf")
MOST_RESOLVERS = 3  # as many as the C library asks


class ResolverSettings(NamedTuple):
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> ResolverSettings:
    """The last `search` or `domain` line counts, as in the C library; lines that are not understood are left out."""
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


def host_resolvers(path: Path = HOST_FILE) -> tuple[str, ...]:
    """The host's nameservers now; loopback ones are good, for forwarding happens on the host."""
    try:
        return parse_resolv_conf(path.read_text()).nameservers[:MOST_RESOLVERS]
    except OSError:
        return ()


def resolv_conf_text(
    host_text: str, *, nameservers: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()
) -> str:
    """What a container with a resolver of ours reads. The user's own `--dns` servers go to `upstreams`, not here.

    `nameservers` replaces ours (a container without sandbox); `search` of `.` means none.
    """
    host = parse_resolv_conf(host_text)
    domains = [domain for domain in (search or host.search) if domain != "."]
    chosen = list(options)
    if not any(option.startswith("ndots:") for option in chosen):
        chosen.append("ndots:0")
    lines = [f"nameserver {server}" for server in (nameservers or (RESOLVER_ADDRESS,))]
    if domains:
        lines.append("search " + " ".join(domains))
    lines.append("options " + " ".join(chosen))
    return "\n".join(lines) + "\n"


def hosts_text(
    hostname: str, addresses: Iterable[str], extra: Mapping[str, str] | None = None, *, domain: str = ""
) -> str:
    """/etc/hosts of a container: itself on each of its addresses (without prefix), and `--add-host` names to addresses."""
    names = f"{hostname}.{domain} {hostname}" if domain else hostname
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "ff00::0\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]
    lines += [f"{address}\t{name}" for name, address in (extra or {}).items()]
    lines += [f"{address}\t{names}" for address in addresses]
    return "\n".join(lines) + "\n"


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
