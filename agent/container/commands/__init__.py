"""Commands on containers, one file per Docker command: create, start, stop, logs, exec, and so on.

Each function takes the `ContainerHost` as its first argument and becomes a method of `ContainerService`. References
(`ref`) are an id, a name, or a unique prefix of an id. To add a command see `agent.container.service`.
"""
