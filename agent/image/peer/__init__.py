"""Image transfer between the nodes of a cluster, over mTLS with their node certificates.

A node serves its images with the read-only part of the OCI distribution API, so that a fetch from a peer is a pull.

Invariant: a node serves an image only to a node of its cluster that the leader lets fetch it.
Invariant: content from a peer is verified like content from a registry.
"""
