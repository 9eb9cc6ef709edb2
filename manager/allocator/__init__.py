"""Giving networks their subnet and VXLAN id, services their virtual addresses and ports, tasks their addresses.

Law: no two live objects ever hold one address. What is held is read from the objects themselves; the index in memory is a memo of
them that can be made again at any moment. Pure, but for the index; the leader's allocator loop alone writes what it gives.
"""
