"""The worker: runs the tasks that managers assigned to this node, and reports their statuses.

Invariant: level-triggered and crash-safe. Assignments and statuses are in SQLite before they are acted on or reported. A daemon that was
killed adopts its containers and reports the exits that happened meanwhile, without a manager. A disconnected node keeps its containers
running. Called by ``agent.session`` (assignments down, statuses up) and ``agent.agent`` (start, close).
"""
