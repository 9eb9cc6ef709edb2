"""Compose files as ``docker stack`` reads them: version 3 of the format, merged into its canonical form and printed byte for byte."""
