"""A simulated cluster with a clock of its own: the leader's real planners, and hosts that only pretend to run tasks."""
