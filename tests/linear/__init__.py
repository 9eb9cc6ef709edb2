"""Linearizability checker: histories, the model of one object, the search, and reports of violations."""
