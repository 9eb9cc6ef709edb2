import pytest

from covey.errors import InvalidArgumentError
from node.lab.cluster import all_ready
from node.lab.layout import Lab, LabHost, validate


def test_hosts_are_numbered_with_managers_first() -> None:
    lab = Lab("lab", 2, 1)
    assert [host.name for host in lab.hosts] == ["lab-1", "lab-2", "lab-3"]
    assert [host.address for host in lab.hosts] == ["192.168.77.1", "192.168.77.2", "192.168.77.3"]


def test_two_labs_share_no_names() -> None:
    one, two = LabHost("one", 1), LabHost("two", 1)
    assert one.netns != two.netns
    assert one.folder != two.folder
    assert one.cgroup != two.cgroup


def test_no_host_has_the_name_of_a_switch() -> None:
    lab = Lab("lab", 9, 0)
    assert lab.switch not in {host.netns for host in lab.hosts}


@pytest.mark.parametrize(
    "lab",
    [Lab("", 1, 0), Lab("Lab", 1, 0), Lab("9lab", 1, 0), Lab("a/b", 1, 0), Lab("x" * 25, 1, 0), Lab("lab\n", 1, 0)],
)
def test_invalid_names_are_refused(lab: Lab) -> None:
    with pytest.raises(InvalidArgumentError, match="lab name"):
        validate(lab)


@pytest.mark.parametrize("lab", [Lab("lab", 0, 1), Lab("lab", 1, 9), Lab("lab", 1, -1)])
def test_invalid_sizes_are_refused_with_the_numbers(lab: Lab) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{lab.managers} managers"):
        validate(lab)


def node(state: str, reachability: str = "") -> dict[str, object]:
    manager = {"ManagerStatus": {"Reachability": reachability}} if reachability else {}
    return {"Status": {"State": state}, **manager}


def test_a_lab_is_ready_when_every_node_and_every_manager_is() -> None:
    lab = Lab("lab", 1, 1)
    assert all_ready([node("ready", "reachable"), node("ready")], lab)
    assert not all_ready([node("ready", "reachable")], lab)
    assert not all_ready([node("ready", "reachable"), node("down")], lab)
    assert not all_ready([node("ready", "unreachable"), node("ready")], lab)
