"""Manifests: Compose files read to what the Engine API takes, and the plan that brings a cluster there.

Law: a key has its meaning or is refused by its path; nothing is dropped. ``source``, ``interpolate``, ``merge``, ``section``, ``service``,
``manifest`` and ``plan`` are pure; ``files`` reads the disk, ``deploy`` talks to the daemon.
"""
