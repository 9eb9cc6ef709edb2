"""Parsers of what users write in flags and files: key-value pairs, durations, sizes, capabilities, environment files."""
