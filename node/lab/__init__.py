"""Lab: a real cluster on one machine. Each host is a set of namespaces (network, mount, PID, UTS, IPC) with a coveyd of its own.

Hosts are joined by veth pairs to a bridge in a namespace of its own, so labs are isolated from each other and from the machine.
"""
