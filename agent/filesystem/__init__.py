"""Files of containers: copying in and out, export, changes, and the layer of a commit.

Invariant: the daemon opens no path that a container or a client chose. A worker process does, with openat2 inside the
container's root, and it dies with the daemon.
Invariant: a stopped container is mounted only in the worker's own mount namespace, so that nothing stays mounted.

`agent.filesystem.process` runs the worker, `agent.filesystem.protocol` has the messages, `agent.filesystem.worker` is the
process. This file imports nothing, so that the process starts quickly.
"""
