"""Containers of this host: create, start, adopt, inspect, exec, logs and removal.

`api` is the interface for other packages, `model` the data types, `service` the implementation, and `commands` has one
file per Docker command.
"""
