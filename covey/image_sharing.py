"""Settings of image sharing between nodes, read from labels of the cluster. Pure.

    covey.images.sharing   first     other nodes before the registry (default)
                           fallback  other nodes when the registry fails
                           only      other nodes, never the registry
                           off       the registry only
    covey.images.access    tasks     a node may fetch the images of its tasks (default)
                           cluster   a node may fetch any image

``covey swarm update --image-sharing`` and ``--image-access`` set them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from covey.errors import InvalidArgumentError
from covey.objects.base import Struct

T = TypeVar("T", bound=StrEnum)

SHARING_LABEL = "covey.images.sharing"
ACCESS_LABEL = "covey.images.access"


class Sharing(StrEnum):
    FIRST = "first"
    FALLBACK = "fallback"
    ONLY = "only"
    OFF = "off"


class Access(StrEnum):
    TASKS = "tasks"
    CLUSTER = "cluster"


class SharingPolicy(Struct, frozen=True, kw_only=True):
    sharing: Sharing = Sharing.FIRST
    access: Access = Access.TASKS


def sharing_policy(labels: Mapping[str, str]) -> SharingPolicy:
    """The policy in a cluster's labels. Raises InvalidArgumentError that names the label and its values."""
    return SharingPolicy(
        sharing=_value(Sharing, labels, SHARING_LABEL, Sharing.FIRST),
        access=_value(Access, labels, ACCESS_LABEL, Access.TASKS),
    )


def _value(kind: type[T], labels: Mapping[str, str], label: str, default: T) -> T:
    text = labels.get(label, default)
    try:
        return kind(text)
    except ValueError:
        values = ", ".join(kind)
        raise InvalidArgumentError(f'the cluster label {label} is "{text}": it must be one of {values}') from None
