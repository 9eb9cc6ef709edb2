"""The way of a container to its DNS resolver as a fragment: 127.0.0.11:53 leads to the resolver's sockets. Pure.

Port 53 itself stays free for the application.
"""

from __future__ import annotations

from agent.network.namespace_state import Fragment, NamespaceState, NftChain, NftTable, container_key

TABLE = "ip covey-dns"


def plan_resolver(container_id: str, address: str, *, udp_port: int, tcp_port: int) -> Fragment:
    """The fragment of one container, whose resolver has these ports."""
    chain = NftChain(
        hook="type nat hook output priority -100; policy accept;",
        rules=tuple(
            f"ip daddr {address} {protocol} dport 53 dnat to {address}:{port}"
            for protocol, port in (("udp", udp_port), ("tcp", tcp_port))
        ),
    )
    return {container_key(container_id): NamespaceState(tables={TABLE: NftTable(chains={"output": chain})})}
