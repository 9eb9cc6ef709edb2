"""Names and labels by which docker and covey mark the objects of a stack."""

from collections.abc import Mapping

STACK_NAMESPACE_LABEL = "com.docker.stack.namespace"
STACK_IMAGE_LABEL = "com.docker.stack.image"
STACK_KEY_LABEL = "covey.stack.key"
"""The key in the file of a secret or config whose name has its content's digest."""
STACK_REPOSITORY_LABEL = "covey.stack.repository"
STACK_COMMIT_LABEL = "covey.stack.commit"


def scoped(stack: str, name: str) -> str:
    """The name of an object of a stack."""
    return f"{stack}_{name}"


def labelled(stack: str, labels: Mapping[str, str] | None) -> dict[str, str]:
    """Labels with the one that marks the stack's objects."""
    return {**(labels or {}), STACK_NAMESPACE_LABEL: stack}
