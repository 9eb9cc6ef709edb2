"""Who a request of the API is from: the user of a local process, the name in a certificate, or an address."""

from __future__ import annotations

import os
import pwd
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from engine.caller import user_of


def request(**info: Any) -> Any:
    return SimpleNamespace(transport=SimpleNamespace(get_extra_info=info.get))


def test_a_process_at_the_unix_socket_is_its_user() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert user_of(request(socket=ours)) == pwd.getpwuid(os.getuid()).pw_name


def test_a_client_with_a_certificate_is_its_common_name() -> None:
    certificate = {"subject": ((("organizationName", "shop"),), (("commonName", "alice"),))}
    assert user_of(request(peercert=certificate)) == "alice"
    assert user_of(request(peercert={"subject": ()}, socket=None)) == "a client with a certificate"


def test_a_client_without_either_is_its_address() -> None:
    with socket.socket(socket.AF_INET) as connection:
        assert user_of(request(socket=connection, peername=("192.0.2.7", 4711))) == "192.0.2.7"


@pytest.mark.parametrize("found", [SimpleNamespace(transport=None), request()])
def test_a_connection_that_is_gone_has_no_user(found: Any) -> None:
    assert user_of(found) == ""
