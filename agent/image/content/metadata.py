"""Image metadata in SQLite: images, tags, layers and the directories where the layers are unpacked.

Invariant: the database is the truth. A file that no row names is a leftover and is removed.
Invariant: every method is one transaction.

Called by `agent.image.store` alone, from one thread at a time.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

BUSY_SECONDS = 10

_SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (
    directory INTEGER PRIMARY KEY AUTOINCREMENT,
    chain_id TEXT NOT NULL UNIQUE,
    diff_id TEXT NOT NULL,
    content_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY,
    added_ns INTEGER NOT NULL,
    tagged_ns INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS removed_images (
    image_id TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE
) STRICT;
CREATE TABLE IF NOT EXISTS image_layers (
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    chain_id TEXT NOT NULL REFERENCES layers(chain_id),
    blob TEXT NOT NULL,
    PRIMARY KEY (image_id, position)
) STRICT;
CREATE TABLE IF NOT EXISTS tags (
    name TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images(id)
) STRICT;
CREATE TABLE IF NOT EXISTS repo_digests (
    name TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) STRICT;
CREATE TABLE IF NOT EXISTS manifests (
    digest TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    media_type TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS parents (
    image_id TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE,
    parent TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS compressed_blobs (
    blob TEXT PRIMARY KEY,
    compressed TEXT NOT NULL
) STRICT;
"""


class LayerRow(msgspec.Struct, frozen=True):
    """An unpacked layer. `directory` is a number and the name of its directory: mount options have a length limit."""

    directory: int
    chain_id: str
    diff_id: str
    content_bytes: int


class StoredLayer(msgspec.Struct, frozen=True):
    """A layer of one image: the chain id of its unpacked directory and the digest of its blob."""

    chain_id: str
    blob: str


class ImageRow(msgspec.Struct, frozen=True):
    """An image with its layers, bottom first."""

    id: str
    tagged_ns: int
    layers: tuple[StoredLayer, ...]


class ManifestRow(msgspec.Struct, frozen=True):
    """A manifest of an image as a registry has it. Its bytes are the blob with this digest."""

    digest: str
    image_id: str
    media_type: str


class MetadataSnapshot(msgspec.Struct, frozen=True):
    """The whole database, read in one transaction.

    `parents` maps a committed image to the image that it was made from, which may be gone.
    `digests` maps NAME@DIGEST, as registries know an image, to its id. `compressed` maps the blob of an uncompressed layer to
    its compressed form, which a push made. `removed` are images that were removed while a container needed their layers.
    """

    images: dict[str, ImageRow] = {}
    tags: dict[str, str] = {}
    layers: dict[str, LayerRow] = {}
    digests: dict[str, str] = {}
    manifests: dict[str, ManifestRow] = {}
    compressed: dict[str, str] = {}
    removed: frozenset[str] = frozenset()
    parents: dict[str, str] = {}


class NewImage(msgspec.Struct, frozen=True):
    """An image to add. An image that exists already is not changed, but gets the tags."""

    id: str
    layers: tuple[StoredLayer, ...]
    tags: tuple[str, ...]
    parent: str = ""


class ImageMetadata:
    """The database file of one store."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def read(self) -> MetadataSnapshot:
        """Read everything."""
        with self._transaction() as db:
            layers: dict[str, list[StoredLayer]] = {}
            for image_id, chain_id, blob in db.execute(
                "SELECT image_id, chain_id, blob FROM image_layers ORDER BY image_id, position"
            ):
                layers.setdefault(image_id, []).append(StoredLayer(chain_id, blob))
            return MetadataSnapshot(
                images={
                    row[0]: ImageRow(row[0], row[1], tuple(layers.get(row[0], ())))
                    for row in db.execute("SELECT id, tagged_ns FROM images ORDER BY added_ns, id")
                },
                tags=dict(db.execute("SELECT name, image_id FROM tags ORDER BY name")),
                layers={
                    row[1]: LayerRow(*row)
                    for row in db.execute("SELECT directory, chain_id, diff_id, content_bytes FROM layers")
                },
                digests=dict(db.execute("SELECT name, image_id FROM repo_digests ORDER BY name")),
                manifests={
                    row[0]: ManifestRow(*row)
                    for row in db.execute("SELECT digest, image_id, media_type FROM manifests ORDER BY rowid")
                },
                removed=frozenset(row[0] for row in db.execute("SELECT image_id FROM removed_images")),
                compressed=dict(db.execute("SELECT blob, compressed FROM compressed_blobs")),
                parents=dict(db.execute("SELECT image_id, parent FROM parents")),
            )

    def next_directory(self) -> int:
        """A directory number that no layer ever had."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'layers'").fetchone()
        return int(row[0]) + 1 if row else 1

    def add(self, layers: Sequence[LayerRow], images: Sequence[NewImage], now_ns: int) -> None:
        """Add layers, images and tags. A tag of another image moves."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO layers (directory, chain_id, diff_id, content_bytes) VALUES (?, ?, ?, ?)",
                [(layer.directory, layer.chain_id, layer.diff_id, layer.content_bytes) for layer in layers],
            )
            for image in images:
                inserted = db.execute(
                    "INSERT INTO images (id, added_ns) VALUES (?, ?) ON CONFLICT DO NOTHING", (image.id, now_ns)
                )
                if inserted.rowcount:
                    db.executemany(
                        "INSERT INTO image_layers (image_id, position, chain_id, blob) VALUES (?, ?, ?, ?)",
                        [(image.id, at, layer.chain_id, layer.blob) for at, layer in enumerate(image.layers)],
                    )
                    if image.parent:
                        db.execute("INSERT INTO parents (image_id, parent) VALUES (?, ?)", (image.id, image.parent))
                db.execute("DELETE FROM removed_images WHERE image_id = ?", (image.id,))
                for tag in image.tags:
                    _tag(db, tag, image.id, now_ns)

    def tag(self, name: str, image_id: str, now_ns: int) -> None:
        with self._transaction() as db:
            _tag(db, name, image_id, now_ns)

    def untag(self, names: Sequence[str]) -> None:
        with self._transaction() as db:
            db.executemany("DELETE FROM tags WHERE name = ?", [(name,) for name in names])
            db.executemany("DELETE FROM repo_digests WHERE name = ?", [(name,) for name in names])

    def hide(self, image_ids: Sequence[str]) -> None:
        """Remove images with their names, but keep their layers for the containers that use them."""
        with self._transaction() as db:
            ids = [(image_id,) for image_id in image_ids]
            db.executemany("DELETE FROM tags WHERE image_id = ?", ids)
            db.executemany("DELETE FROM repo_digests WHERE image_id = ?", ids)
            db.executemany("INSERT OR IGNORE INTO removed_images (image_id) VALUES (?)", ids)

    def add_repo_digest(self, name: str, manifest: ManifestRow) -> None:
        """Record that a registry has an image under NAME@DIGEST, with this manifest."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO repo_digests (name, image_id) VALUES (?, ?)", (name, manifest.image_id))
            db.execute(
                "INSERT OR IGNORE INTO manifests (digest, image_id, media_type) VALUES (?, ?, ?)",
                (manifest.digest, manifest.image_id, manifest.media_type),
            )

    def add_compressed_blob(self, blob: str, compressed: str) -> None:
        """Record the compressed form of a layer's blob."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO compressed_blobs (blob, compressed) VALUES (?, ?)", (blob, compressed))

    def remove(self, image_ids: Sequence[str]) -> tuple[LayerRow, ...]:
        """Remove images with their tags, and the layers that no image uses any more. Returns those layers."""
        with self._transaction() as db:
            ids = [(image_id,) for image_id in image_ids]
            db.executemany("DELETE FROM tags WHERE image_id = ?", ids)
            db.executemany("DELETE FROM images WHERE id = ?", ids)
            rows = db.execute(
                "DELETE FROM layers WHERE chain_id NOT IN (SELECT chain_id FROM image_layers) "
                "RETURNING directory, chain_id, diff_id, content_bytes"
            ).fetchall()
            db.execute("DELETE FROM compressed_blobs WHERE blob NOT IN (SELECT blob FROM image_layers)")
            return tuple(LayerRow(*row) for row in rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _tag(db: sqlite3.Connection, name: str, image_id: str, now_ns: int) -> None:
    db.execute("INSERT OR REPLACE INTO tags (name, image_id) VALUES (?, ?)", (name, image_id))
    db.execute("UPDATE images SET tagged_ns = ? WHERE id = ?", (now_ns, image_id))
