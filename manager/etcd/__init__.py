"""etcd as the engine of the store: objects are keys, transactions are fenced, the leader holds a lease. See ``docs/design/etcd.md``."""
