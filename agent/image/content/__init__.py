"""Content of the image store: blobs, unpacked layers, and the database that names them.

Invariant: whatever the store names by a digest has that digest. Invariant: files without a row in the database are leftovers.
Archives and registries stage their files here and commit them; this package knows neither. This file imports nothing, so that
the worker processes start quickly.
"""
