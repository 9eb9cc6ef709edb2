"""The AppArmor profile of a container, by what the kernel has loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtime import apparmor
from covey.errors import InvalidArgumentError, UnsupportedError


def host(root: Path, profiles: str) -> Path:
    for path, text in (
        ("sys/module/apparmor/parameters/enabled", "Y\n"),
        ("sys/kernel/security/apparmor/profiles", profiles),
    ):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    return root


def test_the_default_profile_applies_where_it_is_loaded(tmp_path: Path) -> None:
    root = host(tmp_path, "docker-default (enforce)\nmine (complain)\n")
    assert apparmor.profile("", privileged=False, root=root) == "docker-default"
    assert apparmor.profile("", privileged=True, root=root) == "unconfined"
    assert apparmor.profile("mine", privileged=True, root=root) == "mine"
    assert apparmor.profile("unconfined", privileged=False, root=root) == "unconfined"
    with pytest.raises(InvalidArgumentError, match="other is not loaded"):
        apparmor.profile("other", privileged=False, root=root)


def test_a_host_with_other_profiles_only_does_not_confine_unasked(tmp_path: Path) -> None:
    assert apparmor.profile("", privileged=False, root=host(tmp_path, "mine (enforce)\n")) == ""


def test_a_kernel_without_apparmor_refuses_profiles_by_name(tmp_path: Path) -> None:
    assert apparmor.profile("", privileged=False, root=tmp_path) == ""
    assert apparmor.profile("unconfined", privileged=False, root=tmp_path) == ""
    with pytest.raises(UnsupportedError, match="apparmor=mine"):
        apparmor.profile("mine", privileged=False, root=tmp_path)
