"""Registries: pull and push by the OCI distribution API, login, search.

Invariant: a registry is not trusted. Every body has a bound and every wait a deadline; digests and lengths are verified.
Invariant: credentials go to the registry they are for, and to the token server that it names, and nowhere else.
This file imports nothing, so that the worker processes start quickly.
"""
