"""Volumes of this host. The only driver is `local`: each volume is a directory."""
