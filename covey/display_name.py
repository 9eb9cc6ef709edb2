"""Display name of an object, as people see it in lists and messages. Pure.

Called by the control API (filters by name) and by the log broker.
"""

from covey.objects import Node, Object, Task


def display_name(item: Object) -> str:
    """The name of an object: SERVICE.SLOT.ID for a task, the hostname for a node."""
    if isinstance(item, Task):
        return item.annotations.name or f"{item.service_annotations.name}.{item.slot or item.node_id}.{item.id}"
    if isinstance(item, Node):
        return item.description.hostname or item.spec.annotations.name
    return item.spec.annotations.name
