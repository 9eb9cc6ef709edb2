"""The file of a host's WireGuard keys."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec

from agent.network.wireguard import keys
from agent.network.wireguard.keys import TunnelKeys


def test_keys_are_read_back_and_readable_by_root_alone(tmp_path: Path) -> None:
    path = tmp_path / "wireguard" / "keys.json"
    found = TunnelKeys(present=keys.new_key("covey0-wg0", 51820), made_at=5.0)
    keys.save(path, found)
    assert keys.load(path) == found
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_missing_or_damaged_file_means_new_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    assert keys.load(path) is None
    path.write_text("{")
    assert keys.load(path) is None


def test_the_key_before_sends_until_the_new_one_is_known() -> None:
    old, new = keys.new_key("covey0-wg0", 51820), keys.new_key("covey0-wg1", 51821)
    rotating = TunnelKeys(present=new, previous=old, sends_new=False)
    assert rotating.sender == old
    assert rotating.all == (new, old)
    assert msgspec.structs.replace(rotating, sends_new=True).sender == new
    assert msgspec.structs.replace(rotating, previous=None).sender == new
