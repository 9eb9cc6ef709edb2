"""Consensus backend on an external etcd."""
