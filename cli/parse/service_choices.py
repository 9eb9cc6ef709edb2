"""Allowed words of service spec fields: modes, update orders, failure actions, restart conditions."""

MODES = {"replicated": "Replicated", "global": "Global", "replicated-job": "ReplicatedJob", "global-job": "GlobalJob"}
"""The key of ServiceSpec.Mode by the word that users write."""

ENDPOINT_MODES = ("vip", "dnsrr")
FAILURE_ACTIONS = ("pause", "continue", "rollback")
ROLLBACK_FAILURE_ACTIONS = ("pause", "continue")
ORDERS = ("start-first", "stop-first")
RESTART_CONDITIONS = ("none", "on-failure", "any")
