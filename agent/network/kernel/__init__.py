"""The kernel's side of namespace states: read into `NamespaceState`, and changed by carrying out differences.

Messages of rtnetlink are packed and parsed with `struct`, because a state may hold thousands of entries; nftables goes through
libnftables. Everything here runs on threads of `KernelThreads`, inside the namespace that it concerns.
"""
