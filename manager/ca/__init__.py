"""The cluster's certificate authority: one root a cluster, certificates that carry node id and role, join tokens."""
