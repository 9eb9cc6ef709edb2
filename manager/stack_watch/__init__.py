"""Watched stacks: the leader asks their repositories for new commits and deploys them.

Invariant: what a repository contains is read by a process of its own, never by the manager. What was found and done is in the store, so a
new leader goes on where the old one stopped.
"""
