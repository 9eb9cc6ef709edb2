"""Labels by which docker and covey mark the objects of a stack."""

STACK_NAMESPACE_LABEL = "com.docker.stack.namespace"
STACK_IMAGE_LABEL = "com.docker.stack.image"
