"""Container networking of one host: overlay networks, container namespaces, service VIPs, planners.

Invariant: forwarding entries are programmed from the cluster's state and never learnt.
Invariant: no process is started for a network.

`model` holds the types. `state`, `overlay_fragments`, `backends`, `draining`, `mtu` and `service_discovery` decide and are pure.
`links`, `nftables`, `conntrack` and `netns` change or read the kernel beside the reconciler. `sandbox` and `overlays` are what a host
consists of, `host_networks` joins them, and `driver` is the asyncio interface that the worker uses.

`namespace_state` is the type of wanted and found state. `plan` computes fragments of it and compares, `kernel` reads and applies,
`namespace_worker` and `reconciler` keep both the same; docs/design/network-state.md.
"""
