"""Managers agree through Raft: `core` decides and never does, the driver around it writes, sends and applies."""
