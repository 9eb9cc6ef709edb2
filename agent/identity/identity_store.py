"""Identity files of a node: STATE/identity/{root.crt,node.crt,node.key}.

Invariant: `node.crt` is written last and by rename, and a renewal keeps the key, so the files belong together at any
moment. Called by the session, the daemon, and the join and renewal clients.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from agent.identity.node_identity import NodeIdentity
from covey.durable_file import replace_file
from covey.errors import UnauthenticatedError

_KEY_MODE = 0o600
_CERTIFICATE_MODE = 0o644


class IdentityStore:
    """The identity files of one node.

    `unseal` decrypts a manager's key, which is encrypted on disk while autolock is on; it returns an unencrypted key
    unchanged.
    """

    def __init__(self, state_dir: Path, unseal: Callable[[bytes], bytes] = bytes) -> None:
        self.folder = state_dir / "identity"
        self._unseal = unseal
        self._cached: NodeIdentity | None = None
        self._stamp: tuple[int, ...] = ()
        self.lock = asyncio.Lock()
        """Held while files are replaced: of two concurrent renewals, the older certificate could win."""

    def load(self) -> NodeIdentity | None:
        """The identity on disk, or None. Reads the files again only if they have changed."""
        path = self.folder / "node.crt"
        try:
            stats = [path.stat(), (self.folder / "root.crt").stat()]
        except FileNotFoundError:
            self._cached = None
            return None
        stamp = tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_ino))
        if self._cached is None or stamp != self._stamp:
            self._cached = NodeIdentity.parse(
                certificate=path.read_bytes(),
                key=self._unseal((self.folder / "node.key").read_bytes()),
                root=(self.folder / "root.crt").read_bytes(),
            )
            self._stamp = stamp
        return self._cached

    def require(self) -> NodeIdentity:
        """The identity on disk. Raises UnauthenticatedError if there is none."""
        identity = self.load()
        if identity is None:
            raise UnauthenticatedError(f"this node has no identity in {self.folder}: join a cluster first")
        return identity

    def save(self, identity: NodeIdentity) -> None:
        """Write all files. Leaves a key file that already holds this key unchanged, encrypted or not."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.folder / "root.crt", identity.root, _CERTIFICATE_MODE)
        if not self._has_key(identity.key):  # the manager may be encrypting it at this moment
            replace_file(self.folder / "node.key", identity.key, _KEY_MODE)
        replace_file(self.folder / "node.crt", identity.certificate, _CERTIFICATE_MODE)

    def save_roots(self, roots: bytes) -> None:
        """Replace the trusted roots (PEM)."""
        replace_file(self.folder / "root.crt", roots, _CERTIFICATE_MODE)

    def _has_key(self, key: bytes) -> bool:
        try:
            return self._unseal((self.folder / "node.key").read_bytes()) == key
        except FileNotFoundError:
            return False

    def store_key_unsealed(self) -> None:
        """Write the key unencrypted, after a demotion: a worker has no unlock key."""
        path = self.folder / "node.key"
        sealed = path.read_bytes()
        plain = self._unseal(sealed)
        if plain != sealed:
            replace_file(path, plain, _KEY_MODE)

    def remove(self) -> None:
        """Delete the identity."""
        (self.folder / "node.crt").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._cached = None
