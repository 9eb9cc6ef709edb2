"""The largest number of layers of an image: what overlayfs can mount below a container's writable layer.

Archives, registries and commits refuse larger images with it, so that whatever the image store holds can be mounted.
"""

LAYER_LIMIT = 500
"""The limit of the kernel for lower directories."""
