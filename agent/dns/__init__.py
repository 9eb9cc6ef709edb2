"""The resolver that every container finds at 127.0.0.11.

Law: a container is told names of its own networks only; every other question goes to the host's resolvers. `zone`
decides, `wire` reads and writes packets, `server` and `forward` do.
"""
