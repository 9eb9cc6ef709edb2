from pathlib import Path

import pytest

from cli.daemon_address import DaemonAddress, daemon_address, parse_address
from covey.errors import InvalidArgumentError


def test_the_flag_goes_before_covey_host_and_that_before_docker_host() -> None:
    both = {"DOCKER_HOST": "unix:///d", "COVEY_HOST": "unix:///c"}
    assert daemon_address({}, {}).path == "/run/covey/covey.sock"
    assert daemon_address({}, {"DOCKER_HOST": "unix:///d"}).path == "/d"
    assert daemon_address({}, both).path == "/c"
    assert daemon_address({"host": "unix:///f"}, both).path == "/f"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://h", "h", 2375),
        ("tcp://h:99/", "h", 99),
        ("tcp://", "localhost", 2375),
        ("tcp://:7000", "localhost", 7000),
        ("tcp://[2001:db8::1]:7", "2001:db8::1", 7),
        ("tcp://[::1]", "::1", 2375),
    ],
)
def test_tcp_addresses_have_dockers_defaults(text: str, host: str, port: int) -> None:
    assert parse_address(text) == DaemonAddress(text, host=host, port=port)


@pytest.mark.parametrize(
    "text",
    ["ssh://host", "unix://", "/run/covey.sock", "tcp://h:x", "tcp://h:0", "tcp://h:65536", "tcp://::1:7", "tcp://[::1", "tcp://[::1]7"],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="is not an address of a daemon") as caught:
        parse_address(text)
    assert repr(text) in caught.value.message


def test_tls_comes_from_flags_or_docker_variables() -> None:
    far = {"host": "tcp://h"}
    assert daemon_address(far, {}).tls is None
    found = daemon_address(far, {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"})
    assert found.port == 2376
    assert found.tls is not None
    assert (found.tls.verify, found.tls.ca, found.tls.is_explicit) == (True, "/certs/ca.pem", False)
    only_encrypted = daemon_address({**far, "tls": True}, {"HOME": "/home/a"}).tls
    assert only_encrypted is not None
    assert (only_encrypted.verify, only_encrypted.key) == (False, "/home/a/.docker/key.pem")
    given = daemon_address({**far, "tlsverify": True, "tlscert": "/c", "tlskey": "/k"}, {"DOCKER_CONFIG": "/d"}).tls
    assert given is not None
    assert given[:3] == ("/d/ca.pem", "/c", "/k")
    assert given.is_explicit
    assert daemon_address({**far, "tlsverify": False}, {"DOCKER_TLS_VERIFY": "1"}).tls is None


def test_tls_flags_without_tcp_are_refused_and_variables_are_not() -> None:
    with pytest.raises(InvalidArgumentError, match="--tls is for tcp://"):
        daemon_address({"tlsverify": True}, {})
    assert daemon_address({}, {"DOCKER_TLS_VERIFY": "1"}).path == "/run/covey/covey.sock"


def test_a_missing_ca_is_named(tmp_path: Path) -> None:
    from cli.tls_socket import make_context

    address = daemon_address({"host": "tcp://h", "tlsverify": True, "tlscacert": f"{tmp_path}/no.pem"}, {})
    assert address.tls is not None
    with pytest.raises(InvalidArgumentError, match="could not read the CA certificate .*/no.pem: No such file"):
        make_context(address.tls)
