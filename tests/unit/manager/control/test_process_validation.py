"""What a service may ask of the kernel, in any node's place."""

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import ContainerSpec, Ulimit
from manager.control.process_validation import require_process_settings


def test_what_nodes_can_do_is_accepted() -> None:
    require_process_settings(
        ContainerSpec(
            oom_score_adj=-1000,
            stop_signal="RTMIN+3",
            ulimits=(Ulimit(name="nofile", soft=1, hard=-1), Ulimit(name="as", soft=-1, hard=-1)),
            sysctls={"net.core.somaxconn": "1", "kernel.shmmax": "2", "fs.mqueue.msg_max": "3", "net/ipv4/x": "4"},
            capability_add=("net_admin", "CAP_CHOWN"),
            capability_drop=("all",),
            hosts=("10.0.0.1 a b", "fd00::1 c", "[fd00::1] d", "host-gateway e"),
        )
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ContainerSpec(oom_score_adj=1001), "range for oom score adj"),
        (ContainerSpec(stop_signal="WISH"), "ContainerSpec: Invalid signal: WISH"),
        (ContainerSpec(ulimits=(Ulimit(name="wish"),)), "invalid ulimit type: wish"),
        (ContainerSpec(ulimits=(Ulimit(name="core", soft=2, hard=1),)), "soft limit must be less"),
        (ContainerSpec(ulimits=(Ulimit(name="core", soft=-2, hard=-1),)), "use -1 for no limit"),
        (ContainerSpec(sysctls={"kernel.panic": "1"}), "sysctl 'kernel.panic' is not in a separate kernel namespace"),
        (ContainerSpec(sysctls={"kernel.msgmaxed": "1"}), "not in a separate kernel namespace"),
        (ContainerSpec(capability_add=("WISH",)), 'invalid CapabilityAdd: unknown capability: "WISH"'),
        (ContainerSpec(capability_drop=("CAP_",)), "invalid CapabilityDrop"),
        (ContainerSpec(hosts=("",)), "needs the form ADDRESS NAME"),
        (ContainerSpec(hosts=("10.0.0.1",)), "needs the form ADDRESS NAME"),
        (ContainerSpec(hosts=("db 10.0.0.1",)), "invalid IP address"),
    ],
)
def test_what_no_node_could_do_is_refused_with_the_field(spec: ContainerSpec, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        require_process_settings(spec)
