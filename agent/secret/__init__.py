"""Secrets and configs on this node: in memory, and as files on a tmpfs for the tasks that use them. Never on a disk.

Law: what arrives is dropped when the manager takes it away, a task's files go when the task has ended, and a folder that
turns out not to be on a tmpfs is refused. Called by ``agent.worker`` alone.
"""
