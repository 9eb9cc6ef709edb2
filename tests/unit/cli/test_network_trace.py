"""What `covey network trace` makes of its arguments and of the hops."""

from __future__ import annotations

import pytest

from cli.commands.network_trace import lines, split_port


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("web", ("web", "")),
        ("web:80", ("web", "80")),
        ("web:", ("web", "")),
        ("10.0.1.6:5432", ("10.0.1.6", "5432")),
        ("fd00::7", ("fd00::7", "")),
        ("[fd00::7]", ("fd00::7", "")),
        ("[fd00::7]:80", ("fd00::7", "80")),
        ("web:http", ("web", "http")),
    ],
)
def test_a_target_has_a_place_and_a_port(target: str, parts: tuple[str, str]) -> None:
    assert split_port(target) == parts


def test_hops_stand_below_their_namespace_and_the_broken_one_has_a_remedy() -> None:
    hop = {
        "Host": "one", "Namespace": "network/0123456789abcdef", "Step": "bridge", "Read": "device br0", "Found": "up",
        "State": "passed", "Reason": "", "Remedy": "",
    }  # fmt: skip
    broken = {**hop, "State": "broken", "Found": "missing", "Reason": "it is gone", "Remedy": "make it"}
    assert lines([hop, broken]) == [
        "one network/0123456789ab",
        "  ok     bridge: up   [device br0]",
        "  BROKEN bridge: missing   [device br0]",
        "         it is gone",
        "         remedy: make it",
    ]
