"""The worker: makes the tasks that managers assigned to this node run, and tells what became of each.

Law: level-triggered and crash-safe. What is assigned and what became of it is in SQLite before it is acted on or told, so a daemon
that was killed adopts its containers, reports exits that happened meanwhile and needs no manager for either. A node that is cut
off keeps running what it runs. Called by ``agent.session`` (assignments down, statuses up) and ``agent.agent`` (start, close).
"""
