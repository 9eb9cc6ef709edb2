"""The shared kernel: objects, ids, states, errors, clock and codec. No network, no disk."""
