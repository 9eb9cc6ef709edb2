"""SELinux labels of what is mounted into a container: its files of /etc, secrets, volumes, and binds with `z` or `Z`. Blocking.

Invariant: files of the host are relabelled only where the user asks for it (`-v SOURCE:TARGET:Z`), and never whole system directories.
Called by `agent.container.bundle` for a container that has labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agent.container.model import ContainerConfig, ContainerMount, MountKind
from agent.runtime import selinux
from agent.runtime.oci_spec import BindMount
from agent.runtime.selinux import SelinuxLabels


def relabel_mounts(config: ContainerConfig, binds: Iterable[BindMount], labels: SelinuxLabels) -> None:
    """Give mounted files the labels that the container may use; does nothing without labels."""
    for source, label in plan_relabels(config, binds, labels):
        selinux.relabel(source, label)


def plan_relabels(
    config: ContainerConfig, binds: Iterable[BindMount], labels: SelinuxLabels
) -> tuple[tuple[Path, str], ...]:
    """The paths to relabel and their labels. Raises InvalidArgumentError in Docker's words for a directory that must keep its labels."""
    if not labels.mount:
        return ()
    by_target = {mount.target: mount for mount in config.mounts}
    result = []
    for bind in binds:
        mount = by_target.get(bind.target)
        label = labels.mount if mount is None else _label(mount, labels)
        if label:
            if mount is not None and mount.kind is MountKind.BIND:
                selinux.check_relabel(bind.source)
            result.append((Path(bind.source), label))
    return tuple(result)


def _label(mount: ContainerMount, labels: SelinuxLabels) -> str:
    """The label of a user's mount. Volumes are shared between containers unless they say otherwise."""
    words = mount.mode.split(",")
    if "Z" in words:
        return labels.mount
    return labels.shared_mount if "z" in words or mount.kind is MountKind.VOLUME else ""
