"""How this host runs one container: an OCI runtime under conmon, overlayfs below it, cgroups around it.

Nothing here knows of tasks, services or the Engine API; `agent.container` is the caller.
"""
