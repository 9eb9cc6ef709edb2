"""Container networking of one host: overlay networks, container namespaces, service VIPs, outbound NAT.

Invariant: forwarding entries are programmed from the cluster's state and never learnt.
Invariant: no process is started for a network.

`model` holds the types. `state`, `fdb`, `vip_lb` and `mtu` decide and are pure. `links`, `nftables`, `conntrack`,
`fdb_netlink` and `netns` change the kernel. `driver` is the asyncio interface that the worker uses.
"""
