"""Contents of a container's /etc/hosts, /etc/resolv.conf and /etc/hostname. Pure."""

from __future__ import annotations

from agent.container.model import HOST_NETWORK, ContainerConfig
from agent.dns.resolv_conf import parse_resolv_conf

_LOCAL = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)


def hostname(config: ContainerConfig, host_name: str) -> str:
    """The configured name, the host's name where the namespace is shared, or the short id."""
    if config.uts_mode == HOST_NETWORK or (config.netns_path == HOST_NETWORK and not config.hostname):
        return host_name
    return config.hostname or config.id[:12]


def hosts(config: ContainerConfig, name: str, host_file: str) -> str:
    """Loopback names, extra hosts, and the container's addresses. On the host's network the host's file comes first."""
    lines = host_file.splitlines() if config.netns_path == HOST_NETWORK else list(_LOCAL)
    for extra in config.extra_hosts:
        host, _, address = extra.partition(":")
        lines.append(f"{address}\t{host}")
    own = f"{name}.{config.domainname} {name}" if config.domainname else name
    lines += [f"{address}\t{own}" for each in config.networks for address in (each.ip, each.ip6) if address]
    return "\n".join(lines) + "\n"


def resolv_conf(config: ContainerConfig, host_file: str) -> str:
    """The host's file with what the container configures in its place: the sandbox's resolver or name servers, search domains, options.

    As in Docker, what is not configured is the host's, `.` stands for no search domain, and a container that asks the sandbox's resolver
    tries names as they are first (`ndots:0`), unless an option says otherwise.
    """
    servers = (config.resolver,) if config.resolver else config.dns
    if not (servers or config.dns_search or config.dns_options):
        return host_file
    host = parse_resolv_conf(host_file)
    options = config.dns_options or host.options
    if config.resolver and not any(option.startswith("ndots:") for option in options):
        options += ("ndots:0",)
    search = " ".join(config.dns_search or host.search)
    lines = [f"nameserver {server}" for server in servers or host.nameservers]
    lines += [f"search {search}"] if search and search != "." else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"
