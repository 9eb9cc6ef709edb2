"""A lab: a real cluster on one machine. Each host is a network, mount, PID, UTS and IPC namespace with a coveyd of its own.

Hosts are joined by veth pairs to a bridge that stands in a namespace of its own, so labs see neither each other nor the machine.
"""
