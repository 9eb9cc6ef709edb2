"""Container logs: reading, following, tailing and rotating the files that conmon writes.

Invariant: only conmon writes log files. This package knows paths and entries, but no containers.
"""
