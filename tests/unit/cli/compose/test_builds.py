"""The request that builds the image of a service."""

import json
from typing import Any

import pytest

from cli.compose.builds import build_query
from cli.compose.model import Application
from covey.errors import UnsupportedError


def query(build: dict[str, Any], service: dict[str, Any] | None = None, **flags: Any) -> dict[str, Any]:
    application = Application("proj", services={"web": {"build": {"context": "/c", **build}, **(service or {})}})
    return build_query(application, "web", flags)


def test_the_image_is_named_after_the_service_or_as_the_service_says() -> None:
    assert query({})["t"] == ("proj-web",)
    assert query({"tags": ["other:2"]}, {"image": "shop:1"})["t"] == ("shop:1", "other:2")


def test_keys_of_the_build_become_parameters() -> None:
    found = query(
        {
            "args": {"A": "1", "B": "2"},
            "labels": {"l": "x"},
            "target": "final",
            "network": "none",
            "shm_size": "67108864",
            "extra_hosts": ["db=192.0.2.1"],
            "cache_from": ["old:1"],
            "platforms": ["linux/amd64"],
        },
        build_args={"B": "flag"},
        no_cache=True,
    )
    assert json.loads(found["buildargs"]) == {"A": "1", "B": "flag"}
    assert json.loads(found["labels"])["com.docker.compose.project"] == "proj"
    assert json.loads(found["cachefrom"]) == ["old:1"]
    assert {key: found[key] for key in ("target", "networkmode", "shmsize", "extrahosts", "nocache", "platform")} == {
        "target": "final",
        "networkmode": "none",
        "shmsize": "67108864",
        "extrahosts": ("db:192.0.2.1",),
        "nocache": True,
        "platform": "linux/amd64",
    }
    assert "pull" not in found


@pytest.mark.parametrize("key", ["ssh", "secrets", "additional_contexts", "entitlements", "privileged"])
def test_what_needs_buildkit_is_refused_by_its_path(key: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"services\.web\.build\.{key} needs BuildKit"):
        query({key: ["x"]})
