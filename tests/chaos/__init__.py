"""Clusters of real processes under load while things break, held to their promises: histories for ``tests.linear``, and rounds of kills."""
