"""The control API: validation, transactions on the store, forwarding to the leader."""
