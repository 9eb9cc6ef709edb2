"""Networks of this host alone: the predefined ones, and bridge, macvlan, ipvlan and config-only networks that users create.

Invariant: the store is the record of which networks exist, the containers' configurations that of which addresses are in use.

`model` is data; `creation`, `options` and `subnets` decide and are pure; `addresses` gives addresses to endpoints; `store` keeps
networks across restarts; `networks` is the service that `agent.endpoint` and the Engine API use. The kernel is `agent.network`'s.
"""
