"""The host's resolv.conf."""

from __future__ import annotations

from pathlib import Path

from agent.dns.resolv_conf import host_nameservers, parse_resolv_conf


def test_nameservers_search_and_options_are_parsed_and_the_rest_is_ignored():
    text = "# made by dhcp\nnameserver 127.0.0.53 ; local\nnameserver nonsense\nnameserver fe80::1%eth0\ndomain a\nsearch b c\noptions ndots:2 edns0\nnameserver\n"
    settings = parse_resolv_conf(text)
    assert settings.nameservers == ("127.0.0.53", "fe80::1%eth0")
    assert settings.search == ("b", "c")
    assert settings.options == ("ndots:2", "edns0")


def test_a_host_without_the_file_has_no_nameservers(tmp_path: Path):
    assert host_nameservers(tmp_path / "none") == ()


def test_at_most_three_nameservers_are_used_as_in_the_c_library(tmp_path: Path):
    path = tmp_path / "resolv.conf"
    path.write_text("".join(f"nameserver 10.0.0.{i}\n" for i in range(9)))
    assert host_nameservers(path) == ("10.0.0.0", "10.0.0.1", "10.0.0.2")
