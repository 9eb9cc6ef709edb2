"""Builds of images from a Dockerfile, through the program buildah and the images of this host.

Invariant: buildah never asks a registry. What a Dockerfile names is exported to buildah from the image store first.
"""
