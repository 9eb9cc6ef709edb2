"""coveyd, the daemon of a host: cluster membership, roles, supervision of the manager, and the lab.

This is the only package that imports manager, agent and engine.
"""
