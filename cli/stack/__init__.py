"""Stacks: Compose files to service specs, and the plan that deploys them.

Invariant: each key of a Compose file takes effect or is refused by its path; none is ignored. All modules are pure except ``loader``,
which reads files, and ``deploy``, which talks to the daemon.
"""
