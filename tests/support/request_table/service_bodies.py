"""Bodies of services in requests."""

from typing import Any

SLEEP = {"Image": "{image}", "Command": ["sleep", "1000000"], "StopGracePeriod": 0}
FULL = {
    "Image": "{image}",
    "Labels": {"a": "b"},
    "Command": ["sleep"],
    "Args": ["1000000"],
    "Hostname": "h",
    "Env": ["A=b"],
    "Dir": "/tmp",
    "User": "0",
    "Groups": ["0"],
    "StopSignal": "SIGKILL",
    "TTY": False,
    "OpenStdin": False,
    "ReadOnly": False,
    "StopGracePeriod": 0,
    "HealthCheck": {"Test": ["NONE"]},
    "Hosts": ["10.0.0.1 name"],
    "DNSConfig": {"Nameservers": ["10.0.0.1"], "Search": ["a.b"], "Options": ["ndots:1"]},
    "Init": False,
    "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
    "CapabilityAdd": ["CAP_NET_ADMIN"],
    "CapabilityDrop": ["CAP_CHOWN"],
    "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
    "Isolation": "default",
    "Mounts": [
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 493}},
        {"Type": "volume", "Source": "sv", "Target": "/v", "VolumeOptions": {"NoCopy": True, "Labels": {"x": "y"}}},
        {
            "Type": "bind",
            "Source": "/tmp",
            "Target": "/b",
            "ReadOnly": True,
            "BindOptions": {"Propagation": "rprivate"},
        },
    ],
}


def spec(
    name: str = "web", *, container: Any = SLEEP, task: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {"Name": name, "TaskTemplate": {"ContainerSpec": container, **(task or {})}, **more}
