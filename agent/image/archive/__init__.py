"""Image archives: `docker load`, `docker import` and `docker save`.

Invariant: archives are not trusted. This file imports nothing, so that the unpack process starts quickly.
"""
