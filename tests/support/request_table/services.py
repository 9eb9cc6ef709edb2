"""Requests about services and tasks, and the networks, secrets and configs that services use."""

from typing import Any

from tests.support.request_table import service_jobs
from tests.support.request_table.row import ANY, delete, filters, get, post
from tests.support.request_table.service_bodies import FULL, SLEEP, spec


def refused(note: str, *, container: dict[str, Any] | None = None, **more: Any) -> Any:
    """A creation that both engines are expected to refuse."""
    message = more.pop("message", "")
    return post(
        "/services/create", spec("bad", container={**SLEEP, **(container or {})}, **more), note, message=message
    )


ROWS = (
    get("/services", "none yet"),
    get("/tasks", "none yet"),
    post(
        "/networks/create",
        {"Name": "ov", "Driver": "overlay", "Attachable": True, "Labels": {"a": "b"}},
        "overlay",
        save={"net": "Id"},
    ),
    post("/networks/create", {"Name": "ov", "Driver": "overlay"}, "duplicate name"),
    post("/networks/create", {"Name": "ov", "Driver": "overlay", "CheckDuplicate": True}, "duplicate name, checked"),
    post(
        "/networks/create",
        {"Name": "ov2", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "wrong"}]}},
        "bad subnet",
        message=ANY,
    ),
    post(
        "/networks/create",
        {"Name": "ov2", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]}},
        "subnet",
        save={"net2": "Id"},
    ),
    post("/networks/create", {"Name": "", "Driver": "overlay"}, "overlay without a name"),
    post("/networks/create", {"Name": "a b", "Driver": "overlay"}, "overlay with a bad name"),
    get("/networks/ov", "overlay", until=("Driver", "overlay")),
    get("/networks/ov", "overlay, verbose", query={"verbose": "1"}),
    get("/networks/ov2", "overlay with a subnet", until=("Driver", "overlay")),
    get("/networks/ov", "overlay, swarm scope", query={"scope": "swarm"}),
    get("/networks/ov", "overlay, local scope", query={"scope": "local"}),
    get("/networks", "overlay driver", query=filters(driver=["overlay"], name=["ov2"])),
    post("/secrets/create", {"Name": "key", "Data": "YQ=="}, save={"secret": "ID"}),
    post("/configs/create", {"Name": "conf", "Data": "YQ=="}, save={"config": "ID"}),
    post("/services/create", spec(), save={"service": "ID"}),
    get(
        "/tasks",
        "running",
        query=filters(service=["web"], desired_state=["running"]),
        until=("0.Status.State", "running"),
        save={"task": "0.ID", "container": "0.Status.ContainerStatus.ContainerID"},
    ),
    get("/services"),
    get("/services", "status", query={"status": "true"}),
    get("/services/web", save={"version": "Version.Index"}),
    get("/services/{service}", "by ID"),
    get("/services/web", "defaults", query={"insertDefaults": "true"}),
    get("/services/none"),
    get("/tasks/{task}"),
    get("/tasks/none"),
    get("/tasks", "node", query=filters(node=["{node}"])),
    get("/tasks", "unknown state", query=filters(desired_state=["wrong"])),
    get("/tasks", "unknown filter", query=filters(wrong=["a"])),
    get("/tasks", "service that is not there", query=filters(service=["none"])),
    get("/services", "mode", query=filters(mode=["replicated"])),
    get("/services", "unknown mode", query=filters(mode=["wrong"])),
    get("/services", "label", query=filters(label=["none"])),
    get("/services", "unknown filter", query=filters(wrong=["a"])),
    get("/services/none/logs", query={"stdout": "1"}),
    get("/services/web/logs", "no stream chosen"),
    get("/tasks/none/logs", query={"stdout": "1"}),
    get("/containers/{container}/json", "container of a task"),
    get("/containers/json", "containers of tasks", query=filters(label=["com.docker.swarm.service.name=web"])),
    post("/services/create", spec(), "duplicate name"),
    post(
        "/services/create",
        spec(
            "full",
            container={
                **FULL,
                "Secrets": [
                    {
                        "SecretID": "{secret}",
                        "SecretName": "key",
                        "File": {"Name": "k", "UID": "0", "GID": "0", "Mode": 292},
                    }
                ],
                "Configs": [
                    {
                        "ConfigID": "{config}",
                        "ConfigName": "conf",
                        "File": {"Name": "/c", "UID": "0", "GID": "0", "Mode": 292},
                    }
                ],
            },
            task={
                "Resources": {
                    "Limits": {"NanoCPUs": 500000000, "MemoryBytes": 67108864, "Pids": 100},
                    "Reservations": {"NanoCPUs": 1000000, "MemoryBytes": 4194304},
                },
                "RestartPolicy": {"Condition": "any", "Delay": 1000000000, "MaxAttempts": 0, "Window": 0},
                "Placement": {
                    "Constraints": ["node.role==manager"],
                    "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
                    "MaxReplicas": 2,
                    "Platforms": [{"Architecture": "amd64", "OS": "linux"}],
                },
                "Networks": [{"Target": "{net}", "Aliases": ["alias"]}],
                "ForceUpdate": 0,
                "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
            },
            Labels={"l": "m"},
            Mode={"Replicated": {"Replicas": 1}},
            UpdateConfig={
                "Parallelism": 0,
                "Delay": 0,
                "FailureAction": "pause",
                "Monitor": 1000000000,
                "MaxFailureRatio": 0,
                "Order": "stop-first",
            },
            RollbackConfig={"Parallelism": 1, "FailureAction": "pause", "Order": "start-first"},
            EndpointSpec={"Mode": "vip"},
        ),
        "every field",
        save={"full": "ID"},
    ),
    get("/services/full", "every field", until=("Endpoint.VirtualIPs.0.NetworkID", "{net}")),
    get("/services/full", "every field, defaults", query={"insertDefaults": "true"}),
    post(
        "/services/create",
        spec("top", Networks=[{"Target": "{net}"}], EndpointSpec={"Mode": "dnsrr"}),
        "networks of the service",
        save={"top": "ID"},
    ),
    get("/services/top", "networks of the service"),
    post(
        "/services/create",
        spec(
            "zero",
            task={"RestartPolicy": {"Condition": "none", "Delay": 0, "MaxAttempts": 0, "Window": 0}, "Resources": {}},
            Mode={"Replicated": {"Replicas": 0}},
            EndpointSpec={},
        ),
        "given zeros",
    ),
    get("/services/zero", "given zeros"),
    post(
        "/services/create",
        spec("glob", Mode={"Global": {}}, task={"Placement": {"Constraints": ["node.labels.none==yes"]}}),
        "global",
    ),
    get("/services/glob", "global"),
    *service_jobs.ROWS,
    post(
        "/services/create",
        spec("odd", task={"Placement": {"Constraints": ["unknown.key==x"]}, "Resources": {}}),
        "unknown constraint key",
    ),
    post(
        "/services/create",
        spec("odd2", task={"Placement": {"Preferences": [{"Spread": {"SpreadDescriptor": "unknown"}}]}}),
        "unknown spread descriptor",
    ),
    post(
        "/services/create",
        spec(
            "odd3",
            task={"Networks": [{"Target": "{net}", "DriverOpts": {"a": "b"}}]},
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "driver options of a network",
    ),
    get("/services/odd3", "driver options of a network", until=("Endpoint.VirtualIPs.0.NetworkID", "{net}")),
    post(
        "/services/create",
        spec(
            "odd4",
            task={
                "Resources": {
                    "Reservations": {"GenericResources": [{"NamedResourceSpec": {"Kind": "gpu", "Value": "u1"}}]}
                }
            },
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "named generic resource",
    ),
    post(
        "/services/create",
        spec(
            "odd5",
            task={
                "Resources": {
                    "Reservations": {"GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}]}
                }
            },
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "discrete generic resource",
    ),
    get("/services/odd5", "discrete generic resource"),
    post(
        "/services/create",
        spec(
            "odd6",
            container={**SLEEP, "Privileges": {"SELinuxContext": {"Disable": True}}},
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "SELinux context",
    ),
    get("/services/odd6", "SELinux context"),
    post(
        "/services/create",
        spec(
            "odd7",
            container={**SLEEP, "Mounts": [{"Type": "tmpfs", "Source": "x", "Target": "/x"}]},
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "tmpfs with a source",
    ),
    post(
        "/services/create",
        spec(
            "odd8",
            container={**SLEEP, "Mounts": [{"Type": "bind", "Source": "relative", "Target": "/x"}]},
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "relative bind source",
    ),
    post(
        "/services/create",
        spec(
            "odd9",
            container={**SLEEP, "Mounts": [{"Type": "volume", "Source": "v", "Target": "relative"}]},
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "relative target",
    ),
    refused("no image", container={"Image": ""}),
    refused("bad image reference", container={"Image": "UPPER"}),
    post("/services/create", {"TaskTemplate": {"ContainerSpec": SLEEP}}, "no name", save={"noname": "ID"}),
    post("/services/create", {"Name": "x", "TaskTemplate": {}}, "no container"),
    post("/services/create", {"Name": "x"}, "no task template"),
    post(
        "/services/create",
        {"Name": "x", "TaskTemplate": {"Runtime": "wrong", "ContainerSpec": SLEEP}},
        "unknown runtime",
    ),
    post("/services/create", spec("a b"), "bad name"),
    post("/services/create", spec("a" * 70), "long name"),
    refused("both modes", Mode={"Replicated": {"Replicas": 1}, "Global": {}}),
    refused("negative replicas", Mode={"Replicated": {"Replicas": -1}}),
    refused("unknown endpoint mode", EndpointSpec={"Mode": "wrong"}),
    refused("ports with dnsrr", EndpointSpec={"Mode": "dnsrr", "Ports": [{"TargetPort": 80, "PublishedPort": 8080}]}),
    refused(
        "same port twice",
        EndpointSpec={"Ports": [{"TargetPort": 80, "PublishedPort": 8080}, {"TargetPort": 81, "PublishedPort": 8080}]},
    ),
    post(
        "/services/create",
        spec(
            "open",
            EndpointSpec={
                "Ports": [
                    {"TargetPort": 80, "PublishedPort": 28080},
                    {"TargetPort": 53, "PublishedPort": 28053, "Protocol": "udp"},
                    {"TargetPort": 81, "PublishedPort": 28081, "PublishMode": "host"},
                ]
            },
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "published ports",
        save={"open": "ID"},
    ),
    get("/services/open", "published ports", until=("Endpoint.Ports.1.TargetPort", 53)),
    refused(
        "port of another service",
        EndpointSpec={"Ports": [{"TargetPort": 80, "PublishedPort": 28080}]},
        message=r"port '28080' is already in use by service 'open' \(\S+\) as an ingress port$",
    ),
    refused(
        "host port of another service in ingress mode",
        EndpointSpec={"Ports": [{"TargetPort": 80, "PublishedPort": 28081}]},
        message=r"port '28081' is already in use by service 'open' \(\S+\) as a host-published port$",
    ),
    refused("the ingress network", task={"Networks": [{"Target": "ingress"}]}),
    post(
        "/networks/create",
        {"Name": "mesh", "Driver": "overlay", "Ingress": True},
        "second ingress",
        message=r"ingress network \(\S+\) is already present$",
    ),
    get("/networks/ingress", "ingress", until=("Containers.ingress-sbox.Name", "ingress-endpoint")),
    get("/networks/host", "host for services", query={"scope": "swarm"}),
    delete(
        "/networks/ingress", "in use", message=r"ingress network cannot be removed because service \S+ depends on it$"
    ),
    delete("/services/open"),
    refused("network that is not there", task={"Networks": [{"Target": "missing"}]}),
    refused(
        "secret that is not there",
        container={
            "Secrets": [
                {"SecretID": "none", "SecretName": "n", "File": {"Name": "n", "UID": "0", "GID": "0", "Mode": 292}}
            ]
        },
    ),
    refused("secret without a file", container={"Secrets": [{"SecretID": "{secret}", "SecretName": "key"}]}),
    refused(
        "two secrets with the same target",
        container={
            "Secrets": [
                {
                    "SecretID": "{secret}",
                    "SecretName": "key",
                    "File": {"Name": "n", "UID": "0", "GID": "0", "Mode": 292},
                }
            ]
            * 2
        },
    ),
    refused(
        "config that is not there",
        container={
            "Configs": [
                {"ConfigID": "none", "ConfigName": "n", "File": {"Name": "n", "UID": "0", "GID": "0", "Mode": 292}}
            ]
        },
    ),
    refused("bad constraint", task={"Placement": {"Constraints": ["wrong"]}}),
    refused("constraint with a bad key", task={"Placement": {"Constraints": ["a b==c"]}}),
    refused("unknown restart condition", task={"RestartPolicy": {"Condition": "wrong"}}),
    refused("negative delay", task={"RestartPolicy": {"Condition": "any", "Delay": -1}}),
    refused("unknown update action", UpdateConfig={"FailureAction": "wrong"}),
    refused("unknown update order", UpdateConfig={"Order": "wrong"}),
    refused("failure ratio above one", UpdateConfig={"MaxFailureRatio": 2}),
    refused("negative monitor", UpdateConfig={"Monitor": -1}),
    refused("memory below the minimum", task={"Resources": {"Limits": {"MemoryBytes": 1}}}),
    refused("CPU below the minimum", task={"Resources": {"Limits": {"NanoCPUs": 1}}}),
    refused("unknown mount type", container={"Mounts": [{"Type": "wrong", "Target": "/x"}]}),
    post(
        "/services/create",
        spec(
            "mnt",
            container={**SLEEP, "Mounts": [{"Type": "volume", "Source": "x"}]},
            Mode={"Replicated": {"Replicas": 0}},
        ),
        "mount without a target",
    ),
    refused(
        "mounts on the same target",
        container={"Mounts": [{"Type": "tmpfs", "Target": "/x"}, {"Type": "tmpfs", "Target": "/x"}]},
    ),
    post(
        "/services/create",
        spec("iso", container={**SLEEP, "Isolation": "wrong"}, Mode={"Replicated": {"Replicas": 0}}),
        "bad isolation",
    ),
    post(
        "/services/create",
        spec("health", container={**SLEEP, "HealthCheck": {"Test": ["WRONG"]}}, Mode={"Replicated": {"Replicas": 0}}),
        "health check with an unknown test",
    ),
    refused("negative health interval", container={"HealthCheck": {"Test": ["CMD", "true"], "Interval": 1}}),
    refused("bad template", container={"Hostname": "{{.Wrong}}"}),
    refused("job with an update config", Mode={"ReplicatedJob": {}}, UpdateConfig={"Parallelism": 1}),
    post("/services/web/update", spec(container={**SLEEP, "Env": ["X=y"]}), "by name", query={"version": "{version}"}),
    get("/services/web", "updated", save={"version": "Version.Index"}, shape=False),
    post("/services/web/update", spec(), "old version", query={"version": "1"}),
    post("/services/web/update", spec(), "no version"),
    post("/services/none/update", spec(), query={"version": "1"}),
    post("/services/web/update", spec("other"), "rename", query={"version": "{version}"}),
    post("/services/web/update", spec(Mode={"Global": {}}), "mode change", query={"version": "{version}"}),
    post(
        "/services/zero/update",
        spec("zero"),
        "rollback without a previous spec",
        query={"version": "{version}", "rollback": "previous"},
        message=r"FailedPrecondition desc = service \S+ does not have a previous spec$",
    ),
    post("/services/web/update", spec(), "unknown rollback", query={"version": "{version}", "rollback": "wrong"}),
    delete("/networks/ov", "in use", message=r"FailedPrecondition desc = network \S+ is in use by service \S+$"),
    delete("/secrets/key", "in use"),
    delete("/configs/conf", "in use"),
    delete("/services/none"),
    delete("/services/web"),
    delete("/services/{full}"),
    delete("/services/top"),
    delete("/services/zero"),
    delete("/services/glob"),
    delete("/services/job"),
    delete("/services/each"),
    delete("/services/count"),
    delete("/services/never"),
    delete("/services/back"),
    delete("/services/odd"),
    delete("/services/odd2"),
    delete("/services/odd3"),
    delete("/services/odd4"),
    delete("/services/odd5"),
    delete("/services/odd6"),
    delete("/services/odd7"),
    delete("/services/odd8"),
    delete("/services/odd9"),
    delete("/services/iso"),
    delete("/services/health"),
    delete("/services/mnt"),
    delete("/services/{noname}"),
    get("/services/web", "removed"),
    delete("/networks/ov2"),
    post("/swarm/leave", None, "force", query={"force": "1"}),
    get("/swarm", "after leaving"),
)
