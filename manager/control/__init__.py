"""What the Engine API asks of the cluster: validation, transactions, forwarding to the leader."""
