from pathlib import Path

import pytest

from agent.container.model import ContainerConfig, ContainerMount, MountKind
from agent.container.mount_labels import plan_relabels
from agent.runtime.oci_spec import BindMount
from agent.runtime.selinux import SelinuxLabels
from covey.errors import InvalidArgumentError

LABELS = SelinuxLabels("u:r:container_t:s0:c1,c2", "u:o:container_file_t:s0:c1,c2")
SHARED = "u:o:container_file_t:s0"


def config(*mounts: ContainerMount) -> ContainerConfig:
    return ContainerConfig(id="i", name="n", image="i", image_id="i", args=("x",), mounts=mounts)


def test_volumes_are_shared_binds_only_relabelled_when_asked_and_own_files_private() -> None:
    made = config(
        ContainerMount(kind=MountKind.VOLUME, source="v", target="/v"),
        ContainerMount(kind=MountKind.BIND, source="/srv/a", target="/a"),
        ContainerMount(kind=MountKind.BIND, source="/srv/z", target="/z", mode="ro,z"),
        ContainerMount(kind=MountKind.BIND, source="/srv/Z", target="/Z", mode="Z"),
    )
    binds = [BindMount("/folder/hosts", "/etc/hosts"), BindMount("/volumes/v", "/v")]
    binds += [BindMount(mount.source, mount.target) for mount in made.mounts[1:]]
    assert plan_relabels(made, binds, LABELS) == (
        (Path("/folder/hosts"), LABELS.mount),
        (Path("/volumes/v"), SHARED),
        (Path("/srv/z"), SHARED),
        (Path("/srv/Z"), LABELS.mount),
    )
    assert plan_relabels(made, binds, SelinuxLabels()) == ()


def test_a_system_directory_is_not_relabelled() -> None:
    made = config(ContainerMount(kind=MountKind.BIND, source="/etc", target="/e", mode="Z"))
    with pytest.raises(InvalidArgumentError, match="SELinux relabeling of /etc is not allowed"):
        plan_relabels(made, [BindMount("/etc", "/e")], LABELS)
