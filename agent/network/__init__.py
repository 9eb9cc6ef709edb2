"""The networks of one host: overlay sandboxes, container namespaces, service addresses, the way out.

Law: what is forwarded is programmed from the cluster's state, never learnt, and no process is ever started for it.
`model` holds the nouns, `world`, `forwarding` and `balance` decide, `links`, `nft`, `conntrack` and `netns` do, and
`driver` joins them for the worker.
"""
