"""Compose files: reading, interpolation, merging, validation, and the two canonical forms (Compose project, swarm stack).

Invariant: everything here is pure, except that ``sources`` reads files. Values are nodes that know their place in a file, so an error
names file, line, column and path. Stages work on nodes and hand nodes on.
"""
