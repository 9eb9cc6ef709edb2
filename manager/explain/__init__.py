"""Explanations for people: why a service's tasks wait, which single change would place them, what a change would lead to. Pure.

Invariant: nothing is stored. What is suggested was tried on a hypothetical view with the scheduler's own planner. Called by
``manager.control``.
"""
