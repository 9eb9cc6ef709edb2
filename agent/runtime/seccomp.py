"""Seccomp profiles: loading Docker's JSON format and converting it to the OCI `seccomp` section.

Invariant: if the default profile is missing, the start is refused; a container never runs without it unasked.
`convert` is pure: the rules that apply depend on the capabilities, the machine and the kernel passed in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.runtime.capabilities import ALL
from covey.errors import InvalidArgumentError, UnavailableError

X32 = "SCMP_ARCH_X32"
DEFAULT_PROFILE = Path("/usr/share/containers/seccomp.json")
UNCONFINED = "unconfined"
_ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
}


def load(profile: str, default: Path = DEFAULT_PROFILE) -> dict[str, Any] | None:
    """The profile for a container's `seccomp` option; None for unconfined."""
    if profile == UNCONFINED:
        return None
    if profile:
        try:
            loaded = json.loads(profile)
        except ValueError as error:
            raise InvalidArgumentError(f"Decoding seccomp profile failed: {error}") from None
    else:
        try:
            loaded = json.loads(default.read_text())
        except FileNotFoundError:
            raise UnavailableError(
                f"the default seccomp profile {default} is missing on this host: "
                "install golang-github-containers-common, or run with --security-opt seccomp=unconfined"
            ) from None
    if not isinstance(loaded, dict) or not isinstance(loaded.get("defaultAction"), str):
        raise InvalidArgumentError("Decoding seccomp profile failed: it must be an object with a defaultAction")
    return loaded


def check(profile: str) -> None:
    """Raises InvalidArgumentError for a profile that cannot be converted."""
    loaded = load(profile)
    try:
        convert(loaded or {"defaultAction": ""}, ALL, "x86_64", "6.0")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidArgumentError(f"Decoding seccomp profile failed: {type(error).__name__}: {error}") from None


def convert(
    profile: dict[str, Any],
    capabilities: Sequence[str],
    machine: str,
    kernel_release: str,
    *,
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The `linux.seccomp` section for a process with these capabilities on this machine and kernel.

    `without` names architectures that the kernel does not run. The runtime compiles the filter for every architecture at
    each start and exec, a fifth of the time of an exec for each. A filter refuses the calls of an architecture that it
    leaves out, so it is never weaker.
    """
    arch, native = _ARCHITECTURES.get(machine, (machine, ""))
    kernel = _version(kernel_release)
    rules = [
        _rule(entry, names)
        for entry in profile.get("syscalls") or ()
        if _applies(entry, frozenset(capabilities), arch, kernel) and (names := _names(entry))
    ]
    section: dict[str, Any] = {"defaultAction": profile["defaultAction"], "syscalls": rules}
    if profile.get("defaultErrnoRet") is not None:
        section["defaultErrnoRet"] = profile["defaultErrnoRet"]
    listed = _architectures(profile, native)
    architectures = [name for name in listed if name not in without] or listed
    if architectures:
        section["architectures"] = architectures
    return section


def _architectures(profile: dict[str, Any], native: str) -> list[str]:
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            return [native, *(entry.get("subArchitectures") or ())]
    listed = profile.get("architectures")
    if listed:
        return list(listed)
    return [native] if native else []


def _names(entry: dict[str, Any]) -> list[str]:
    return list(entry.get("names") or ([entry["name"]] if entry.get("name") else []))


def _rule(entry: dict[str, Any], names: list[str]) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": entry["action"]}
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        rule["args"] = [
            {"index": a["index"], "value": a["value"], "valueTwo": a.get("valueTwo", 0), "op": a["op"]}
            for a in entry["args"]
        ]
    return rule


def _applies(entry: dict[str, Any], capabilities: frozenset[str], arch: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if any(cap not in capabilities for cap in includes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if arch in (excludes.get("arches") or ()):
        return False
    if any(cap in capabilities for cap in excludes.get("caps") or ()):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
