"""What a task is to its agent: the machine of its states and its translation into a container. All of it pure.

Law: task states only go up. ``machine.plan`` decides the next step from what is recorded and what is observed;
``translate`` turns a task, its image and its node into a container's configuration. ``agent.worker`` carries both out.
"""
