"""Benchmark of ``make bench``: real hosts in namespaces, measured through the Engine API.

Invariant: it reports and does not judge. A missed target is a line in the table; only a figure that could not be measured is a failure. The
same measurements run on Covey and on Docker Swarm, because both have the same API.
"""
