"""Streams of containers: logs in frames, and terminals over a hijacked connection."""
