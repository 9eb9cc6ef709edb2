"""The namespace that a pass works on, and the others that it refers to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.network.kernel.nft_tables import NftScratch
from agent.network.netns import Namespace


class Target(msgspec.Struct, frozen=True):
    """`other` returns the namespace with a key, or None if it is not open. `prefix` is the daemon's."""

    key: str
    namespace: Namespace
    prefix: str
    scratch: NftScratch
    other: Callable[[str], Namespace | None]
