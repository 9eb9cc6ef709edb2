"""What of an object leaves the managers through the control API: everything but secrets' data and the root's key. Pure."""

from covey.objects import Cluster, Object, Secret
from manager.control.clusters import without_key
from manager.control.secrets import without_data


def visible(item: Object) -> Object:
    """The object as a person may see it."""
    if isinstance(item, Secret):
        return without_data(item)
    if isinstance(item, Cluster):
        return without_key(item)
    return item
