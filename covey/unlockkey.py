"""The unlock key in Swarm's form: ``SWMKEY-1-`` and 32 random bytes in base64 without padding.

Law: it has 256 random bits, so whatever is derived from it needs no slow function; nothing but the form is decided here. Called by the
managers, which make it, and by the daemon that unlocks its manager with it.
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
    """The bytes of a key that a person typed.

    Raises:
        InvalidArgumentError: it does not have the form of an unlock key; the message does not repeat it.
    """
    head, _, body = text.strip().partition(PREFIX)
    try:
        key = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if head or len(key) != KEY_BYTES:
        raise InvalidArgumentError(
            f"invalid key string: an unlock key begins with {PREFIX}; ask a manager that runs for it"
        )
    return key
