"""Compose files as Docker Compose reads them: the Compose Specification, from files on disk to a project in canonical form."""
