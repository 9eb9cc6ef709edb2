"""Registries as a client needs them: names of images, the configuration file with credentials, pull and push. ``reference`` is pure."""
