"""Autoscaling: the leader measures the load of services with the labels `covey.autoscale…` and changes their replicas.

`usage` and `decision` are pure; `autoscaler` asks nodes and Prometheus and writes what was decided.
"""
