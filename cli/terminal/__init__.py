"""Container streams: multiplexed logs, and interactive terminals over a hijacked connection."""
