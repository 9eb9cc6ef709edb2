"""Tasks on the agent: the task state machine and the container configuration of a task. Pure.

Invariant: task states only go up. ``state_machine.next_step`` decides from the record and the observed container; ``container_config``
turns a task, its image and its node into a container's configuration. ``agent.worker`` carries both out.
"""
