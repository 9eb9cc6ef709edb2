"""Redaction of objects that leave the control API: no secret data, no root key, no unlock key. Pure."""

from covey.objects import Cluster, Object, Secret
from manager.control.clusters import redact_cluster
from manager.control.secrets import redact_secret


def redact(item: Object) -> Object:
    """The object without what people may not see."""
    if isinstance(item, Secret):
        return redact_secret(item)
    if isinstance(item, Cluster):
        return redact_cluster(item)
    return item
