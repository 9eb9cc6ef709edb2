"""The shared kernel: objects, ids, states, errors, clock and codec, and what the operating system gives to all. No network."""
