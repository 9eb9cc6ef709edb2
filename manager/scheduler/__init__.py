"""Placing tasks on nodes: filters that count whom they refuse, then a ranking. Pure; the leader's scheduler loop alone calls it."""
