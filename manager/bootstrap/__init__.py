"""Bootstrap and recovery of a manager: create a cluster, join one, force a new cluster, restore a backup, or continue after a restart.

Invariant: STATE/manager/raft is complete or counts as empty. A process that crashes during bootstrap starts it again.
Called by ``manager.main`` before anything runs.
"""
