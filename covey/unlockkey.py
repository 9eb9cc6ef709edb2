"""The unlock key in Swarm's form: ``SWMKEY-1-`` and 32 random bytes in base64 without padding.

Invariant: the key has 256 random bits, so keys derived from it need no slow key derivation function.

Called by the managers, which create it, and by the daemon, which unlocks its manager with it.
"""

import base64
import binascii
import secrets

from covey.errors import InvalidArgumentError

PREFIX = "SWMKEY-1-"
KEY_BYTES = 32


def generate() -> str:
    """A new key."""
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode().rstrip("=")


def parse(text: str) -> bytes:
    """Parses a key that a person typed.

    Raises:
        InvalidArgumentError: the text is not an unlock key; the message does not repeat it.
    """
    head, _, body = text.strip().partition(PREFIX)
    try:
        key = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if head or len(key) != KEY_BYTES:
        raise InvalidArgumentError(
            f"invalid key string: an unlock key begins with {PREFIX}; run swarm unlock-key on an unlocked manager"
        )
    return key
