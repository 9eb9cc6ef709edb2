"""Settings of a service that reach its container, or that its node judges, on a real host."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root


def created(lab: LabCluster, name: str, task: dict[str, Any] | None = None, **container: Any) -> None:
    """Create a service of one task that is not restarted."""
    image = lab.json("image", "inspect", IMAGE)[0]["Id"]
    spec = {
        "Name": name,
        "TaskTemplate": {
            "ContainerSpec": {"Image": image, "Command": list(labs.SLEEP), "StopGracePeriod": 0, **container},
            "RestartPolicy": {"Condition": "none"},
            **(task or {}),
        },
    }
    status, answer = lab.request("POST", "/services/create", spec)
    assert status == 201, answer


@pytest.mark.parametrize(
    ("privileges", "line"),
    [
        ({"Seccomp": {"Mode": "unconfined"}}, "Seccomp:\t0"),
        ({"Seccomp": {"Mode": "default"}}, "Seccomp:\t2"),
        ({"NoNewPrivileges": True}, "NoNewPrivs:\t1"),
        ({"SELinuxContext": {"Disable": True}, "AppArmor": {"Mode": "disabled"}}, "NoNewPrivs:\t0"),
    ],
)
def test_privileges_reach_the_process(lab: LabCluster, privileges: dict[str, Any], line: str) -> None:
    created(lab, "private", Privileges=privileges)
    (task,) = lab.running("private", 1)
    status = labs.wait(lambda: lab.execute(task, "cat", "/proc/1/status", check=None).out, "the status of the process")
    assert line in status
    shown = lab.get("/services/private")["Spec"]["TaskTemplate"]["ContainerSpec"]["Privileges"]
    assert {key: shown[key] for key in privileges if key != "SELinuxContext"} == {
        key: value for key, value in privileges.items() if key != "SELinuxContext"
    }


def test_every_option_of_a_mount_takes_effect_and_is_shown(lab: LabCluster, tmp_path: Path) -> None:
    """A subpath of a volume and of an image, a bind whose source is made, and flags of a tmpfs."""
    there = {"Placement": {"Constraints": [f"node.id=={lab.node_id(lab[1])}"]}}
    volume = {"Type": "volume", "Source": "opts", "Target": "/v"}
    created(lab, "fill", there, Mounts=[volume], Command=["sh", "-c", "mkdir -p /v/a && echo below >/v/a/file"])
    labs.wait(lambda: lab.tasks("fill", desired="", state="complete"), "the volume has its files")
    bind = {"CreateMountpoint": True, "NonRecursive": True}
    mounts = [
        {**volume, "VolumeOptions": {"Subpath": "a"}},
        {"Type": "image", "Source": IMAGE, "Target": "/i", "ImageOptions": {"Subpath": "etc"}},
        {"Type": "bind", "Source": f"{tmp_path}/made", "Target": "/b", "BindOptions": bind},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Options": [["noexec"], ["uid", "7"]]}},
    ]
    created(lab, "options", there, Mounts=mounts)
    (task,) = lab.running("options", 1)
    script = "cat /v/file; grep -c root: /i/passwd; ls -d /b; grep ' /t ' /proc/mounts"
    out = labs.wait(lambda: lab.execute(task, "sh", "-c", script, check=None).out, "the files")
    below, users, made, tmpfs = out.splitlines()
    assert (below, users, made) == ("below", "1", "/b")
    assert {"noexec", "uid=7", "size=64k"} <= set(tmpfs.split()[3].split(","))
    assert lab.get("/services/options")["Spec"]["TaskTemplate"]["ContainerSpec"]["Mounts"] == mounts


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"Type": "image", "Target": "/x"}, "field Source must not be empty"),
        ({"Type": "image", "Source": "missing:1", "Target": "/x"}, "missing:1"),
        (
            {"Type": "tmpfs", "Target": "/x", "BindOptions": {"NonRecursive": True}},
            "field BindOptions must not be specified",
        ),
        ({"Type": "tmpfs", "Source": "x", "Target": "/x"}, "field Source must not be specified"),
        ({"Type": "bind", "Source": "relative", "Target": "/x"}, "'relative' mount path must be absolute"),
        ({"Type": "volume", "Source": "v", "Target": "relative"}, "'relative' mount path must be absolute"),
    ],
)
def test_a_mount_that_cannot_be_rejects_the_task_with_dockers_words(
    lab: LabCluster, mount: dict[str, Any], words: str
) -> None:
    created(lab, "mounted", Mounts=[mount])
    (task,) = labs.wait(lambda: lab.tasks("mounted", desired="", state="rejected"), "the rejected task")
    assert words in task["Status"]["Err"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"Placement": {"Constraints": ["unknown.key==x"]}}, "scheduling constraints not satisfied"),
        (
            {
                "Resources": {
                    "Reservations": {"GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": "u"}}]}
                }
            },
            "insufficient resources",
        ),
    ],
)
def test_what_no_node_has_keeps_the_task_pending_with_the_reason(
    lab: LabCluster, settings: dict[str, Any], reason: str
) -> None:
    created(lab, "nowhere", settings)
    labs.wait(lambda: reason in str(lab.tasks("nowhere")), "the reason at the task")
    assert lab.tasks("nowhere")[0]["Status"]["State"] == "pending"


def test_an_unknown_spread_descriptor_does_not_keep_a_task_from_running(lab: LabCluster) -> None:
    created(lab, "spread", {"Placement": {"Preferences": [{"Spread": {"SpreadDescriptor": "unknown"}}]}})
    lab.running("spread", 1)


def test_what_inspection_shows_of_a_network_can_be_given_back(lab: LabCluster) -> None:
    lab.docker("network", "create", "-d", "overlay", "again")
    shown = labs.wait(lambda: _with_vni(lab, "again"), "the VXLAN id")
    lab.docker("network", "rm", "again")
    for key in ("Id", "Created", "Containers"):
        del shown[key]
    status, answer = lab.request("POST", "/networks/create", shown)
    assert status == 201, answer
    given = labs.wait(lambda: _with_vni(lab, "again"), "the VXLAN id")
    assert (given["Options"], given["IPAM"]) == (shown["Options"], shown["IPAM"])
    status, answer = lab.request("POST", "/networks/create", {**shown, "Name": "other", "IPAM": {}})
    assert (status, "is used by network again" in answer["message"]) == (400, True)


def _with_vni(lab: LabCluster, name: str) -> dict[str, Any]:
    found = lab.get(f"/networks/{name}")
    return found if found["Options"] else {}
