"""Test helpers: labs, manager and etcd processes, hosts on a switch, fakes, and the Raft script interpreter."""
