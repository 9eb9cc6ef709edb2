"""Which services may be privileged or have devices of their hosts: labels of the cluster. Pure.

    covey.allow.privileged   service=backup-*; image=registry.example/tools/*
    covey.allow.devices      label=team=lab; service=*

A value is a list of selectors separated by `;`. A service that matches one of them is allowed; without the label no service is. `*` and
`?` in a service or image are those of a shell. An image matches by the reference that its service names, without its digest.
``covey swarm update --allow-privileged`` and ``--allow-devices`` set them.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from covey.errors import InvalidArgumentError
from covey.objects import ServiceSpec
from covey.objects.base import Struct

ALLOW_PRIVILEGED_LABEL = "covey.allow.privileged"
ALLOW_DEVICES_LABEL = "covey.allow.devices"
_KINDS = ("service", "image", "label")
_FORM = "write service=NAME, image=REFERENCE or label=KEY=VALUE, separated by ;"


class Selector(Struct, frozen=True):
    """One selector; ``kind`` is service, image or label."""

    kind: str
    pattern: str

    def matches(self, spec: ServiceSpec) -> bool:
        if self.kind == "service":
            return fnmatchcase(spec.annotations.name, self.pattern)
        if self.kind == "image":
            return fnmatchcase(spec.task.container.image.partition("@")[0], self.pattern)
        key, _, value = self.pattern.partition("=")
        return spec.annotations.labels.get(key) == value


def check_policy(labels: Mapping[str, str]) -> None:
    """Raises InvalidArgumentError that names the label of the cluster which is malformed."""
    for label in (ALLOW_PRIVILEGED_LABEL, ALLOW_DEVICES_LABEL):
        list(_selectors(label, labels.get(label, "")))


def is_allowed(label: str, cluster_labels: Mapping[str, str], spec: ServiceSpec) -> bool:
    """Whether the policy in a label of the cluster lets the service through."""
    return any(selector.matches(spec) for selector in _selectors(label, cluster_labels.get(label, "")))


def _selectors(label: str, text: str) -> Iterator[Selector]:
    for part in (part.strip() for part in text.split(";")):
        if not part:
            continue
        kind, separator, pattern = part.partition("=")
        if kind not in _KINDS or not separator or not pattern or (kind == "label" and "=" not in pattern):
            raise InvalidArgumentError(f"the cluster label {label}: {part!r} is no selector; {_FORM}")
        yield Selector(kind, pattern)
