"""Service commands: spec from flags, convergence, progress, logs. ``spec`` and ``convergence`` are pure."""
