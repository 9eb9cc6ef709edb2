"""Shared fixtures of the tests: labs, real managers and etcd members as processes, hosts on a switch, a language for Raft scripts."""
