import pytest

from covey.errors import InvalidArgumentError
from node.addresses import (
    LocalAddress,
    choose_addresses,
    choose_advertise_address,
    choose_data_path_address,
    is_local,
    replacement_address,
    resolve_address,
    resolve_manager_host,
    split_port,
)

ONE = (LocalAddress("eth0", "192.0.2.5"), LocalAddress("covey0", "172.20.0.1"), LocalAddress("eth0", "2001:db8::5"))
TWO = (*ONE, LocalAddress("eth1", "198.51.100.7"))


def test_the_only_address_is_chosen() -> None:
    assert choose_advertise_address("", ONE) == "192.0.2.5"


def test_several_addresses_are_listed_and_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="192.0.2.5 on eth0, 198.51.100.7 on eth1"):
        choose_advertise_address("", TWO)


def test_a_host_without_addresses_gets_an_error_with_the_remedy() -> None:
    with pytest.raises(InvalidArgumentError, match="--advertise-addr"):
        choose_advertise_address("", ())


@pytest.mark.parametrize("word", ["2001:db8::5", "::1", "eth6"])
def test_an_ipv6_address_is_refused_with_the_reason(word: str) -> None:
    known = (*ONE, LocalAddress("eth6", "2001:db8::6"))
    with pytest.raises(
        InvalidArgumentError, match=f"{word}.* specify an IPv4 address of this host with --advertise-addr"
    ):
        choose_advertise_address(word, known)


def test_an_address_of_another_machine_is_refused_and_the_local_ones_are_listed() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"203.0.113.9 is not an address of this host, which has 192.0.2.5, .*198"
    ):
        choose_advertise_address("203.0.113.9", TWO)


def test_loopback_may_be_advertised_for_a_cluster_of_one() -> None:
    assert choose_advertise_address("127.0.0.1", ONE) == "127.0.0.1"


def test_a_host_with_only_ipv6_gets_an_error_that_names_ipv4() -> None:
    with pytest.raises(InvalidArgumentError, match="no IPv4 address to advertise"):
        choose_advertise_address("", (LocalAddress("eth0", "2001:db8::5"), LocalAddress("docker0", "172.17.0.1")))


def test_an_interface_means_its_address() -> None:
    assert choose_advertise_address("eth1", TWO) == "198.51.100.7"
    with pytest.raises(InvalidArgumentError, match="eth9"):
        resolve_address("eth9", TWO)


@pytest.mark.parametrize("standard", ["", "192.0.2.5"])
def test_the_listen_address_is_advertised_rather_than_the_default(standard: str) -> None:
    assert choose_addresses("", "198.51.100.7", standard, TWO) == ("198.51.100.7", "198.51.100.7")
    assert choose_addresses("", "eth1", standard, TWO) == ("198.51.100.7", "198.51.100.7")
    assert choose_addresses("", "127.0.0.1", standard, TWO) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize("listen", ["", "0.0.0.0", "::"])
def test_a_host_that_listens_at_all_addresses_advertises_the_given_address_or_the_default(listen: str) -> None:
    assert choose_addresses("", listen, "eth1", TWO) == ("198.51.100.7", listen or "0.0.0.0")
    assert choose_addresses("192.0.2.5", listen, "eth1", TWO) == ("192.0.2.5", listen or "0.0.0.0")


@pytest.mark.parametrize("advertise", ["", "198.51.100.7"])
@pytest.mark.parametrize("listen", ["1.2.3.4", "2001:db8::5"])
def test_a_listen_address_that_a_manager_cannot_bind_is_refused(listen: str, advertise: str) -> None:
    """A worker accepted 1.2.3.4, and its manager crashed repeatedly after a promotion."""
    remedy = rf"cannot listen at {listen}: .*\(192.0.2.5, .*198.51.100.7\): omit --listen-addr"
    with pytest.raises(InvalidArgumentError, match=remedy):
        choose_addresses(advertise, listen, "", TWO)


def test_a_listen_address_other_than_the_advertised_one_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"listen only at 192.0.2.5, but advertise 198.51.100.7"):
        choose_addresses("198.51.100.7", "192.0.2.5", "", TWO)
    assert choose_addresses("192.0.2.5", "192.0.2.5", "198.51.100.7", TWO) == ("192.0.2.5", "192.0.2.5")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("192.0.2.5", ("192.0.2.5", 2377)),
        ("192.0.2.5:4000", ("192.0.2.5", 4000)),
        ("[2001:db8::5]:4000", ("2001:db8::5", 4000)),
        ("[2001:db8::5]", ("2001:db8::5", 2377)),
        ("2001:db8::5", ("2001:db8::5", 2377)),
    ],
)
def test_host_and_port_are_split(text: str, parts: tuple[str, int]) -> None:
    assert split_port(text, 2377) == parts


def test_an_invalid_port_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="port"):
        split_port("192.0.2.5:http", 2377)


def test_a_data_path_address_is_one_of_this_host() -> None:
    local = (LocalAddress("eth0", "10.0.0.7"), LocalAddress("eth1", "10.1.0.7"))
    assert choose_data_path_address("", local) == ""
    assert choose_data_path_address("eth1", local) == choose_data_path_address("10.1.0.7", local) == "10.1.0.7"
    six = (*local, LocalAddress("eth1", "2001:db8::7"), LocalAddress("eth1", "fe80::7"))
    assert choose_data_path_address("2001:db8::7", six) == "2001:db8::7"
    with pytest.raises(InvalidArgumentError, match="link-local"):
        choose_data_path_address("fe80::7", six)
    for text in ("10.9.9.9", "eth7", "2001:db8::1"):
        with pytest.raises(InvalidArgumentError):
            choose_data_path_address(text, local)


def test_a_host_that_lost_its_address_uses_the_default_or_its_only_address() -> None:
    one = (LocalAddress("eth0", "10.0.0.7"),)
    two = (*one, LocalAddress("eth1", "10.1.0.7"))
    assert replacement_address("", one) == "10.0.0.7"
    assert replacement_address("10.0.0.1", one) == "10.0.0.7", "what its unit file says is of before"
    assert replacement_address("eth1", two) == "10.1.0.7"
    with pytest.raises(InvalidArgumentError, match="multiple addresses"):
        replacement_address("10.0.0.1", two)
    assert is_local("10.0.0.7", one)
    assert is_local("127.0.0.1", one)
    assert not is_local("10.0.0.1", one)


@pytest.mark.parametrize("text", ["", " ", ":2377", "no such host", "nohost.invalid", "a..b", "[]"])
async def test_an_address_that_cannot_be_a_managers_is_refused(text: str) -> None:
    """`covey swarm reconnect ""` succeeded."""
    with pytest.raises(
        InvalidArgumentError, match="neither an address nor a name that this host can resolve .*HOST:PORT of a manager"
    ):
        await resolve_manager_host(text, 2377)


async def test_a_manager_is_given_by_address_or_by_a_name_that_resolves() -> None:
    assert await resolve_manager_host("192.0.2.5:4000", 2377) == "192.0.2.5"
    assert await resolve_manager_host("localhost", 2377) == "localhost"
