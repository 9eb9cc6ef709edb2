"""Network endpoints of this host's containers: the one owner of each container's network sandbox.

Invariant: create, start, restart and adoption after a daemon restart are one path, for tasks and single containers alike.

`plan` decides which interfaces a container needs and is pure. `container_networks` connects, releases and adopts; the worker
and the container service call it. What a sandbox consists of is `agent.network`'s business.
"""
