"""Choice between the kernel's WireGuard and wireguard-go, by what the host has."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.network.wireguard import device
from covey.errors import UnavailableError

PROGRAMS = frozenset({"wg", "wireguard-go"})


def choose(
    monkeypatch: pytest.MonkeyPatch, programs: frozenset[str], *, kernel: bool, tun: bool = True
) -> tuple[str, list[list[str]]]:
    """What is chosen on a host with these programs, and the commands that were run to find out."""
    commands: list[list[str]] = []

    def run(command: list[str], environment: object = None) -> str:
        commands.append(command)
        return "" if kernel else "status 2"

    monkeypatch.setattr(device.shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(Path, "exists", lambda path: tun and str(path) == "/dev/net/tun")
    monkeypatch.setattr(device, "_failure", run)
    return device.find_implementation("covey0-wgt"), commands


def test_the_kernel_is_preferred_and_its_probe_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, commands = choose(monkeypatch, PROGRAMS, kernel=True)
    assert found == device.KERNEL
    assert commands[0] == ["ip", "link", "add", "name", "covey0-wgt", "type", "wireguard"]
    assert commands[1:] == [["ip", "link", "delete", "covey0-wgt"]]


def test_the_kernel_alone_needs_neither_wireguard_go_nor_tun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, frozenset({"wg"}), kernel=True, tun=False)[0] == device.KERNEL


def test_wireguard_go_serves_a_kernel_without_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, PROGRAMS, kernel=False)[0] == device.WIREGUARD_GO


@pytest.mark.parametrize(
    ("programs", "tun", "kernel", "missing"),
    [
        (frozenset({"wireguard-go"}), True, True, "no program wg"),
        (frozenset({"wg"}), True, False, "neither WireGuard in its kernel nor wireguard-go"),
        (PROGRAMS, False, False, "with /dev/net/tun"),
    ],
)
def test_a_host_that_cannot_encrypt_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, programs: frozenset[str], *, tun: bool, kernel: bool, missing: str
) -> None:
    with pytest.raises(UnavailableError, match=missing) as caught:
        choose(monkeypatch, programs, kernel=kernel, tun=tun)
    assert device.REMEDY in str(caught.value)
