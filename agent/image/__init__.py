"""Image store of this host: load, import, save, tag and remove images, and their unpacked layers.

Invariant: whatever the store names by a digest has that digest.
Invariant: a layer that the store hands out was unpacked completely.
Invariant: after a crash at any line, the next start removes what was not committed.

Archives are never trusted. The entry point is `agent.image.store.ImageStore`, its types are in `agent.image.model`.
This file imports nothing, so that the unpack process, which is part of this package, starts quickly.
"""
