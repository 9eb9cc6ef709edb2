"""DNS resolver of containers, at 127.0.0.11 in every container.

Invariant: a container is told the names of its own networks only. Every other question goes to nameservers.

`zone` decides and is pure, `wire` reads and writes packets, `server`, `forwarder` and `upstream` do the I/O. The network driver
starts one server per container. Nothing here imports `agent.network`.
"""
