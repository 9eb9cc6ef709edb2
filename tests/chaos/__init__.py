"""Fault injection in clusters of real processes: histories for ``tests.linear`` and rounds of kills."""
