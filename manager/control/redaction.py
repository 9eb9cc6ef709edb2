"""Redaction of objects that leave the control API: no secret data, no root key, no unlock key, no credentials in URLs. Pure."""

from covey.objects import Cluster, Object, Secret, WatchedStack
from manager.control.clusters import redact_cluster
from manager.control.secrets import redact_secret
from manager.control.watched_stacks import redact_watched_stack


def redact(item: Object) -> Object:
    """The object without what people may not see."""
    if isinstance(item, Secret):
        return redact_secret(item)
    if isinstance(item, Cluster):
        return redact_cluster(item)
    if isinstance(item, WatchedStack):
        return redact_watched_stack(item)
    return item
