"""Seccomp profiles: conversion from Docker's format to the OCI section."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtime import seccomp
from covey.errors import InvalidArgumentError, UnavailableError

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": None},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arm_only"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        {"names": [], "action": "SCMP_ACT_ALLOW"},
    ],
}


def rules(
    capabilities: tuple[str, ...] = (), machine: str = "x86_64", kernel: str = "6.1.0-13"
) -> list[tuple[str, str]]:
    made = seccomp.convert(PROFILE, capabilities, machine, kernel)
    return [(r["names"][0], r["action"]) for r in made["syscalls"]]


def test_rules_apply_by_capability_machine_and_kernel() -> None:
    allow, errno = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
    assert rules() == [("read", allow), ("mount", errno), ("ptrace", allow), ("personality", allow)]
    assert ("mount", allow) in rules(("CAP_SYS_ADMIN",))
    assert ("mount", errno) not in rules(("CAP_SYS_ADMIN",))
    assert ("arm_only", allow) in rules(machine="aarch64")
    assert ("ptrace", allow) not in rules(kernel="4.7.9")


def test_the_section_has_defaults_architectures_and_arguments() -> None:
    made = seccomp.convert(PROFILE, (), "x86_64", "6.1")
    assert made["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert (made["defaultAction"], made["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert made["syscalls"][-1]["args"] == [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]
    assert made["syscalls"][1]["errnoRet"] == 1


def test_architectures_that_the_kernel_does_not_run_are_left_out() -> None:
    without = frozenset({"SCMP_ARCH_X86"})
    assert seccomp.convert(PROFILE, (), "x86_64", "6.1", without=without)["architectures"] == ["SCMP_ARCH_X86_64"]
    only = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"]}
    assert seccomp.convert(only, (), "x86_64", "6.1", without=without)["architectures"] == ["SCMP_ARCH_X86"]


def test_a_missing_default_profile_is_refused_and_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="golang-github-containers-common"):
        seccomp.load("", tmp_path / "none")
    assert seccomp.load("unconfined", tmp_path / "none") is None


@pytest.mark.parametrize(
    "profile",
    [
        "{",
        "[]",
        "{}",
        '{"defaultAction": 1}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"]}]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [7]}',
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "A", "includes": 3}]}',
    ],
)
def test_a_malformed_profile_is_refused_in_dockers_words(profile: str) -> None:
    with pytest.raises(InvalidArgumentError, match="^Decoding seccomp profile failed: "):
        seccomp.check(profile)
