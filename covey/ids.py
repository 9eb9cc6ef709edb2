"""Identifiers of objects: 25 characters of base 36 for cluster objects, 64 hexadecimal digits for containers, as in Docker.

Code that decides takes an ``IdSource`` as an argument, so that simulations are repeatable.
"""

import hashlib
import secrets
from collections.abc import Callable

IdSource = Callable[[], str]

ID_LENGTH = 25
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_BITS = 128


def encode(number: int) -> str:
    """Write a non-negative integer below 2**128 as 25 characters of base 36."""
    digits = []
    for _ in range(ID_LENGTH):
        number, rest = divmod(number, 36)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def new_id() -> str:
    """A new random identifier of a cluster object."""
    return encode(secrets.randbits(_BITS))


def new_container_id() -> str:
    """A new random container id: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def is_id(text: str) -> bool:
    """Whether the text has the form of a cluster object's identifier."""
    return len(text) == ID_LENGTH and all(c in _ALPHABET for c in text)


def endpoint_id(container_id: str, network: str) -> str:
    """The identifier of a container's endpoint on a network, which every node can tell."""
    return hashlib.sha256(f"{container_id}/{network}".encode()).hexdigest()
