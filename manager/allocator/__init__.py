"""The allocator: subnets and VXLAN ids of networks, VIPs and published ports of services, addresses of tasks.

Invariant: no two live objects ever hold the same address. The objects themselves say what is held; the index in memory is a cache that
can be rebuilt at any moment. Pure, except for the index; only the leader's allocator loop writes allocations.
"""
