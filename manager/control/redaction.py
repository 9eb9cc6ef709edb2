"""What of an object leaves the managers through the control API: everything but secrets' data, the root's key and the unlock key. Pure."""

from covey.objects import Cluster, Object, Secret
from manager.control.clusters import redact_cluster
from manager.control.secrets import redact_secret


def redact(item: Object) -> Object:
    """The object as a person may see it."""
    if isinstance(item, Secret):
        return redact_secret(item)
    if isinstance(item, Cluster):
        return redact_cluster(item)
    return item
