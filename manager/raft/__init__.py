"""Raft consensus of the managers: `core` decides without I/O, the driver around it writes, sends and applies."""
