"""Loading of br_netfilter."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import pytest

from agent.network import bridge_netfilter


def test_a_module_that_is_loaded_here_stays_off_on_the_host(tmp_path: Path):
    folder = tmp_path / "bridge"

    def load() -> None:
        folder.mkdir()
        for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
            (folder / name).write_text("1")

    assert bridge_netfilter.ensure(folder, load)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "bridge-nf-call-iptables": "0",
        "bridge-nf-call-ip6tables": "0",
    }


def test_the_settings_of_a_host_that_has_it_are_not_touched(tmp_path: Path):
    (tmp_path / "bridge-nf-call-iptables").write_text("1")
    assert bridge_netfilter.ensure(tmp_path, lambda: pytest.fail("loaded again"))
    assert (tmp_path / "bridge-nf-call-iptables").read_text() == "1"


@pytest.mark.parametrize("error", [FileNotFoundError("modprobe"), subprocess.CalledProcessError(1, "modprobe")])
def test_a_host_without_it_is_told_what_to_do(tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture):
    def load() -> None:
        raise error

    with caplog.at_level(logging.WARNING):
        assert not bridge_netfilter.ensure(tmp_path / "bridge", load)
    assert "br_netfilter" in caplog.text
