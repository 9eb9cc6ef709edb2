"""Contexts of ``covey build``: the files that ``.dockerignore`` leaves, packed as a tar stream."""
