"""coveyd, the daemon of a host: identity on disk, roles, supervision. The only place that sees manager, agent and engine."""
