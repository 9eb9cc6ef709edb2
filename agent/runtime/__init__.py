"""Container runtime of this host: an OCI runtime (runc) under conmon, overlayfs, cgroups, mounts and processes.

Invariant: this package takes OCI-level values only. It does not know `ContainerConfig`, tasks, services or the Engine
API. Called by `agent.container` and `agent.logs`.
"""
