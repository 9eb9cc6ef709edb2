"""What of an object leaves the managers through the control API: everything but secrets' data, the root's key and the unlock key. Pure."""

from covey.objects import Cluster, Object, Secret
from manager.control.clusters import without_keys
from manager.control.secrets import without_data


def visible(item: Object) -> Object:
    """The object as a person may see it."""
    if isinstance(item, Secret):
        return without_data(item)
    if isinstance(item, Cluster):
        return without_keys(item)
    return item
