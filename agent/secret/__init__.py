"""Secrets and configs on this node: in memory, and as files on a tmpfs for the tasks that use them.

Invariant: nothing is written to a disk. What the manager withdraws is dropped from memory; a task's files are deleted
when the task has ended. Called by `agent.worker` only.
"""
