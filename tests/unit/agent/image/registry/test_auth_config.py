"""Credentials of requests: every form that clients send, and malformed ones."""

import base64

import pytest

from agent.image.registry.auth_config import ANONYMOUS, Credentials, decode_body, decode_header
from covey.errors import InvalidArgumentError


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (encoded('{"username":"joe","password":"s?>"}'), Credentials("joe", "s?>")),
        (encoded('{"username":"joe","password":"secret"}').rstrip("="), Credentials("joe", "secret")),
        (encoded('{"auth":"' + base64.b64encode(b"joe:a:b").decode() + '"}'), Credentials("joe", "a:b")),
        (encoded('{"identitytoken":"t","serveraddress":"h"}'), Credentials(identity_token="t", server_address="h")),
        (encoded('{"registrytoken":"t"}'), Credentials(registry_token="t")),
        (encoded("{}"), ANONYMOUS),
        ("", ANONYMOUS),
        ("!!!", ANONYMOUS),
        (encoded("no json"), ANONYMOUS),
        (encoded('{"username":7}'), ANONYMOUS),
        ("A" * 100_000, ANONYMOUS),
    ],
)
def test_a_header_is_decoded_and_a_malformed_one_is_anonymous(header: str, expected: Credentials) -> None:
    assert decode_header(header) == expected


def test_a_malformed_body_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="invalid credentials"):
        decode_body(b'{"username":')


def test_credentials_never_show_their_secrets() -> None:
    assert "secret" not in repr(Credentials("joe", "secret", "secret", "secret"))
