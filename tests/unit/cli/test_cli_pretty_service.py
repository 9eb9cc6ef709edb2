"""``service inspect --pretty`` and ``config inspect --pretty`` print the fields that docker prints, for the same answers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.recording_engine import RecordingEngine, recording

SECOND = 1_000_000_000
TIME = "2026-01-02T03:04:05.678Z"
FILE = {"UID": "0", "GID": "0", "Mode": 0o444}
CONTAINER: dict[str, Any] = {
    "Image": "web:1",
    "Args": ["sleep", "5"],
    "Env": ["A=1", "B=two words"],
    "Dir": "/tmp",
    "User": "0:0",
    "Init": True,
    "Hosts": ["192.0.2.7 db"],
    "CapabilityAdd": ["CAP_NET_ADMIN"],
    "CapabilityDrop": ["CAP_MKNOD"],
    "Sysctls": {"net.core.somaxconn": "100"},
    "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
    "Secrets": [{"SecretName": "token", "SecretID": "s1", "File": {"Name": "renamed", **FILE}}],
    "Configs": [{"ConfigName": "page", "ConfigID": "c1", "File": {"Name": "/etc/page", **FILE}}],
    "Mounts": [
        {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": True},
        {"Type": "tmpfs", "Target": "/scratch"},
    ],
    "Healthcheck": {
        "Test": ["CMD-SHELL", "true x"],
        "Interval": 60 * SECOND,
        "Retries": 2,
        "StartPeriod": 5 * SECOND,
        "Timeout": 3 * SECOND,
    },
}
POLICY = {
    "Parallelism": 2,
    "Delay": 2 * SECOND,
    "FailureAction": "pause",
    "Monitor": SECOND,
    "MaxFailureRatio": 0.5,
    "Order": "start-first",
}
RICH: dict[str, Any] = {
    "Name": "web",
    "Labels": {"a": "1", "b": ""},
    "Mode": {"Replicated": {"Replicas": 2}},
    "TaskTemplate": {
        "ContainerSpec": CONTAINER,
        "Resources": {
            "Limits": {"NanoCPUs": SECOND // 2, "MemoryBytes": 64 << 20, "Pids": 20},
            "Reservations": {"NanoCPUs": SECOND // 10, "MemoryBytes": 8 << 20},
        },
        "Placement": {
            "Constraints": ["node.role==manager", "node.labels.a==b"],
            "Preferences": [
                {"Spread": {"SpreadDescriptor": "node.labels.zone"}},
                {"Spread": {"SpreadDescriptor": "node.labels.rack"}},
            ],
            "MaxReplicas": 3,
        },
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m", "labels": "x"}},
        "Networks": [{"Target": "n1"}],
    },
    "UpdateConfig": POLICY,
    "RollbackConfig": {**POLICY, "MaxFailureRatio": 0, "Order": "stop-first"},
    "EndpointSpec": {"Mode": "vip"},
}
POOR = {
    "Name": "poor",
    "Mode": {"Global": {}},
    "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}},
    "EndpointSpec": {"Mode": "dnsrr"},
}
UNCHECKED = {
    **POOR,
    "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Healthcheck": {"Test": ["NONE"]}, "Isolation": "default"}},
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingEngine]:
    with recording(tmp_path_factory.mktemp("engine")) as made:
        made.answers["/networks"] = [{"Id": "n1", "Name": "front"}]
        made.answers["/networks/n1"] = {"Id": "n1", "Name": "front"}
        yield made


def fields(text: str) -> list[str]:
    """Lines without alignment. Docker prints UTC in lower case in some places."""
    lines = [" ".join(line.split()).replace("+0000 utc", "+0000 UTC") for line in text.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("spec", [RICH, POOR, UNCHECKED], ids=["rich", "poor", "unchecked"])
def test_a_service_is_printed_as_docker_prints_it(engine: RecordingEngine, spec: dict[str, Any]) -> None:
    """Regression: preferences, the health check, the log driver and the targets of files were missing."""
    engine.answers["/services/x"] = {"ID": "x", "Spec": spec, "CreatedAt": TIME, "UpdatedAt": TIME}
    words = ("service", "inspect", "--pretty", "x")
    assert fields(engine.printed(engine.covey_program, *words)) == fields(engine.printed("docker", *words))


def test_a_config_is_printed_with_its_data(engine: RecordingEngine) -> None:
    """Regression: the data was missing."""
    data = base64.b64encode(b"listen 80\nuser nobody\n").decode()
    spec = {"Name": "page", "Labels": {"a": "b"}, "Data": data}
    engine.answers["/configs/x"] = {"ID": "x", "Spec": spec, "CreatedAt": TIME, "UpdatedAt": TIME}
    words = ("config", "inspect", "--pretty", "x")
    ours = engine.printed(engine.covey_program, *words)
    assert "listen 80\nuser nobody\n" in ours
    assert fields(ours) == fields(engine.printed("docker", *words))
