"""Parsers of values in flags and files: key-value pairs, durations, sizes, capabilities, environment files, service flags."""
