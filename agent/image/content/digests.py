"""Digests of blobs and chain ids of layers. Pure.

A chain id names a stack of layers. For one layer it is the diff id. For more it is the digest of the chain id below, a
space and the diff id (OCI image specification). So equal stacks share one unpacked directory.
"""

import hashlib
from collections.abc import Sequence


def digest_of(data: bytes) -> str:
    """``sha256:`` and the hexadecimal digest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain id of every layer, bottom first."""
    chains: list[str] = []
    for diff_id in diff_ids:
        chains.append(digest_of(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    return tuple(chains)
