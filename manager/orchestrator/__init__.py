"""Keeping the right tasks existing: replicated and global services, restarts, rolling updates, what is lost, what is history.

Law: decisions only; every module but the planners is pure functions of a view and a time. One planner decides for a whole service,
so that scale, restart and update can never want different things of one slot.
"""
