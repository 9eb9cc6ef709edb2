"""Jobs in stack files: their mode and counts, and what they cannot have."""

from __future__ import annotations

from typing import Any

import pytest

from compose.stack.deploy_spec import service_mode
from covey.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("deploy", "mode"),
    [
        ({"mode": "replicated-job"}, {"ReplicatedJob": {}}),
        ({"mode": "replicated-job", "replicas": 3}, {"ReplicatedJob": {"MaxConcurrent": 3, "TotalCompletions": 3}}),
        ({"mode": "global-job"}, {"GlobalJob": {}}),
    ],
)
def test_a_job_has_its_mode_and_runs_all_its_replicas_at_once(deploy: dict[str, Any], mode: dict[str, Any]) -> None:
    assert service_mode(deploy) == mode


@pytest.mark.parametrize("mode", ["replicated-job", "global-job"])
@pytest.mark.parametrize("key", ["update_config", "rollback_config"])
def test_an_update_policy_of_a_job_is_refused_before_anything_is_created(mode: str, key: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^deploy.{key}: .* not supported for jobs"):
        service_mode({"mode": mode, key: {}})
    service_mode({"mode": "replicated", key: {}})
