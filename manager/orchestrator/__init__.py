"""Service orchestration: replicated and global services, jobs, restarts, rolling updates, orphaned tasks and the task reaper.

Invariant: every module except the planners consists of pure functions of a view and a time. One planner decides for a whole service,
so scaling, restarts and updates never contradict each other about a slot.
"""
