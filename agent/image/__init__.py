"""Images on this host: a content-addressed store that is loaded, imported, saved and asked for layers.

The law: whatever the store names by a digest has that digest, and whatever it hands out as a layer was unpacked whole.
The daemon may die at any line; the next start sweeps what was not committed. Archives are never trusted.

The door is ``agent.image.store.ImageStore``; its nouns are in ``agent.image.model``. ``agent.container`` asks for ``get`` and
``rootfs_layers``, ``agent.worker`` for ``get``, ``engine`` for the rest. This file imports nothing, so that the unpacking
process, which lives in this package too, starts quickly.
"""
