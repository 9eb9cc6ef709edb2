"""Join tokens in Swarm's form: ``SWMTKN-1-<digest of the root>-<secret>``, the digest 50 and the secret 25 characters of base 36.

Invariant: a joining host checks the digest against the root certificate before it sends the secret; managers compare tokens in constant
time.

Called by the manager's CA and by the agent's identity.
"""

import base64
import hashlib
import hmac
import secrets

from covey.errors import InvalidArgumentError
from covey.objects.base import Struct

PREFIX = "SWMTKN-1"
DIGEST_LENGTH = 50
SECRET_LENGTH = 25
_SECRET_BITS = 128
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


class JoinToken(Struct, frozen=True, kw_only=True):
    """``digest`` is that of the cluster's root certificate; ``secret`` selects the role of the new node."""

    digest: str
    secret: str

    def __str__(self) -> str:
        return f"{PREFIX}-{self.digest}-{self.secret}"


def parse(text: str) -> JoinToken:
    """Parses a token that a person typed.

    Raises:
        InvalidArgumentError: it does not have the form of a join token.
    """
    head, _, rest = text.strip().partition("SWMTKN-1-")
    digest, _, secret = rest.partition("-")
    if head or not (_is_base36(digest, DIGEST_LENGTH) and _is_base36(secret, SECRET_LENGTH)):
        raise InvalidArgumentError(
            "invalid join token: expected SWMTKN-1-DIGEST-SECRET as printed by swarm join-token on a manager"
        )
    return JoinToken(digest=digest, secret=secret)


def generate(root_pem: bytes) -> JoinToken:
    """A new random token for the cluster with this root certificate."""
    return JoinToken(digest=root_digest(root_pem), secret=_base36(secrets.randbits(_SECRET_BITS), SECRET_LENGTH))


def root_digest(root_pem: bytes) -> str:
    """The SHA-256 of the root certificate's DER, as it stands in a token."""
    return _base36(int.from_bytes(hashlib.sha256(pem_to_der(root_pem)).digest()), DIGEST_LENGTH)


def equal_constant_time(one: str, other: str) -> bool:
    """Whether two tokens are equal, compared in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def pem_to_der(pem: bytes) -> bytes:
    """The DER of the first certificate in a PEM text.

    Raises:
        InvalidArgumentError: the text has no certificate.
    """
    _, begun, rest = pem.partition(b"-----BEGIN CERTIFICATE-----")
    body, ended, _ = rest.partition(b"-----END CERTIFICATE-----")
    if not (begun and ended):
        raise InvalidArgumentError("this is not a certificate in PEM form")
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except ValueError as error:
        raise InvalidArgumentError("this is not a certificate in PEM form") from error


def _base36(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 36)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def _is_base36(text: str, length: int) -> bool:
    return len(text) == length and all(c in _ALPHABET for c in text)
