"""Calls of tasks that a manager relays to this node: commands in a task's container, and copies of its files."""
