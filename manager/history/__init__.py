"""History: what happened to the cluster's objects, who did it and why. Every manager remembers the last entries in memory.

Invariant: an entry follows from a commit and the view after it, so all managers have the same entries, in the same order. Nothing decides
by them, nothing waits for them, and their number is bounded. See ADR 37.
"""
