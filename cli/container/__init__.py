"""Container commands beyond one request: options and body of ``run`` and ``create``, attached sessions, copies. ``create_body`` is pure."""
