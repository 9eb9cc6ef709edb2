"""Encryption between hosts: this host's WireGuard keys and devices, and the peers that the managers name."""
