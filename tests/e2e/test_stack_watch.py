"""``covey stack watch`` on three managers, with a git daemon beside them: pushes, a broken file, a killed leader, drift, removal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.git_daemon import GitRepository, served_repository
from tests.support.labs import IMAGE, CommandResult, LabCluster

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"
SWITCH_ADDRESS = "192.168.77.254"


def stack_file(colour: str, *, services: tuple[str, ...] = ("web",)) -> str:
    return "services:\n" + "".join(
        f'  {name}:\n    image: {IMAGE}\n    command: ["sleep", "1000000"]\n    stop_signal: SIGKILL\n'
        f"    environment: {{COLOUR: {colour}}}\n"
        for name in services
    )


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("watch", 3, archive=images) as found:
        yield found


@pytest.fixture(scope="module")
def repo(lab: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitRepository]:
    enter = ("ip", "netns", "exec", lab.lab.switch)
    with served_repository(tmp_path_factory.mktemp("git"), SWITCH_ADDRESS, inside=enter) as served:
        yield served


def covey(lab: LabCluster, *arguments: str, check: int | None = 0) -> CommandResult:
    return labs.run([COVEY, *arguments], env=lab.environment(), check=check)


def diff(lab: LabCluster, stack: str, *, check: int = 0) -> str:
    """``stack diff`` as a user of a host runs it, who reaches the repository."""
    host = lab.running_hosts()[0]
    return lab.inside(host, str(COVEY), "stack", "diff", stack, env=lab.environment(host), check=check).out


def watched(lab: LabCluster, stack: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.get(f"/covey/stacks/{stack}/watch")
    return found


def colour(lab: LabCluster, service: str) -> str:
    status, found = lab.request("GET", f"/services/{service}")
    return found["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"][0].removeprefix("COLOUR=") if status == 200 else ""


def watch(lab: LabCluster, stack: str, repo: GitRepository, *options: str, check: int = 0) -> CommandResult:
    return covey(lab, "stack", "watch", stack, "--git", repo.url, "--interval", "1s", *options, check=check)


def test_a_push_changes_the_services_within_the_interval(lab: LabCluster, repo: GitRepository) -> None:
    first = repo.commit({"compose.yaml": stack_file("red", services=("web", "old"))})
    assert f"deployed at commit {first[:7]}" in watch(lab, "push", repo, "--prune").out
    lab.running("push_web", 1)
    pushed = repo.commit({"compose.yaml": stack_file("blue")})
    labs.wait(lambda: colour(lab, "push_web") == "blue", "the pushed colour", 15)
    labs.wait(lambda: watched(lab, "push")["Status"]["DeployedCommit"] == pushed, "the commit in the status")
    assert not lab.get("/services", name=["push_old"]), "--prune left a service that the file no longer has"
    assert watched(lab, "push")["Status"]["Attempts"] == 2

    row = json.loads(covey(lab, "stack", "watch", "--format", "json").out)
    assert (row["Name"], row["Commit"], row["State"]) == ("push", pushed[:7], "up to date")
    assert f"{pushed[:7]}, up to date" in covey(lab, "stack", "ls").out

    said = covey(lab, "stack", "rm", "push").out
    assert f"Stopping the watch of {repo.url}" in said
    assert not lab.get("/covey/stacks/watched")
    repo.commit({"compose.yaml": stack_file("green")})
    assert "not watched" in covey(lab, "stack", "watch", "push", "--now", check=1).err


def test_a_broken_file_is_told_and_leaves_the_old_stack(lab: LabCluster, repo: GitRepository) -> None:
    good = repo.commit({"compose.yaml": stack_file("red")})
    watch(lab, "broken", repo)
    (task,) = lab.running("broken_web", 1)
    bad = repo.commit({"compose.yaml": "services: {web: {image: [1]}}\n"})

    def error() -> str:
        return str(watched(lab, "broken")["Status"]["DeployError"])

    reason = labs.wait(error, "the error of the broken file", 15)
    assert "services.web.image" in reason
    state = json.loads(covey(lab, "stack", "watch", "--no-trunc", "--format", "json").out)
    assert state["Commit"] == good
    assert state["State"].startswith(f"commit {bad[:7]} failed: ")
    assert lab.running("broken_web", 1)[0]["ID"] == task["ID"]
    asked = covey(lab, "stack", "watch", "broken", "--now", check=1)
    assert "services.web.image" in asked.err
    fixed = repo.commit({"compose.yaml": stack_file("blue")})
    labs.wait(lambda: watched(lab, "broken")["Status"]["DeployedCommit"] == fixed, "the fixed file", 15)
    assert not error()
    covey(lab, "stack", "watch", "broken", "--stop")
    assert colour(lab, "broken_web") == "blue", "--stop removed the services"
    covey(lab, "stack", "rm", "broken")


def test_a_change_by_hand_is_shown_as_drift_and_mended_on_demand(lab: LabCluster, repo: GitRepository) -> None:
    repo.commit({"compose.yaml": stack_file("red", services=("web", "api"))})
    watch(lab, "drift", repo)
    assert diff(lab, "drift") == ""
    lab.docker("service", "update", "-d", "--env-add", "COLOUR=pink", "drift_web")
    lab.docker("service", "rm", "drift_api")
    told = "drift: drift_web changed; drift_api removed"
    assert told in covey(lab, "stack", "ls").out
    assert json.loads(covey(lab, "stack", "watch", "--format", "json").out)["State"] == told
    shown = diff(lab, "drift", check=1)
    assert 'COLOUR=pink" -> "COLOUR=red"' in shown
    assert "+ service drift_api" in shown
    covey(lab, "stack", "watch", "drift", "--now")
    assert colour(lab, "drift_web") == "red"
    assert json.loads(covey(lab, "stack", "watch", "--format", "json").out)["State"] == "up to date"
    covey(lab, "stack", "rm", "drift")


def test_the_next_leader_goes_on_and_deploys_once(lab: LabCluster, repo: GitRepository) -> None:
    """1. The leader is killed. 2. A commit is pushed. 3. Its successor deploys it, once. 4. The old one returns and does nothing."""
    repo.commit({"compose.yaml": stack_file("red")})
    watch(lab, "next", repo)
    attempts = watched(lab, "next")["Status"]["Attempts"]
    leader = lab.wait_leader()
    lab.kill(leader)
    try:
        pushed = repo.commit({"compose.yaml": stack_file("blue")})
        labs.wait(lambda: colour_or_none(lab) == "blue", "the pushed colour under the next leader", 40)
        labs.wait(lambda: watched(lab, "next")["Status"]["DeployedCommit"] == pushed, "the commit in the status")
    finally:
        lab.restore_all_hosts()
    assert watched(lab, "next")["Status"]["Attempts"] == attempts + 1
    checked = watched(lab, "next")["Status"]["CheckedAt"]
    labs.wait(lambda: watched(lab, "next")["Status"]["CheckedAt"] > checked, "a later check")
    assert watched(lab, "next")["Status"]["Attempts"] == attempts + 1
    covey(lab, "stack", "rm", "next")


def colour_or_none(lab: LabCluster) -> str:
    try:
        return colour(lab, "next_web")
    except (OSError, KeyError):
        return ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--git", "https://h/a", "--interval", "10ms"), "is not between 1 s and 7 days"),
        (
            ("--git", "https://h/a", "--with-registry-auth"),
            "deploy it once with covey stack deploy --with-registry-auth",
        ),
        (("--prune",), "--prune needs --git"),
        (("--now", "--stop"), "exclude each other"),
    ],
)
def test_what_cannot_be_watched_is_refused(lab: LabCluster, options: tuple[str, ...], reason: str) -> None:
    refused = covey(lab, "stack", "watch", "no", *options, check=None)
    assert refused.code in (1, 125)
    assert reason in refused.err
    assert not lab.get("/covey/stacks/watched")


def test_a_repository_that_does_not_answer_is_told_without_its_password(lab: LabCluster, repo: GitRepository) -> None:
    """The daemon of the repository speaks no HTTP."""
    url = repo.url.replace("git://", "http://user:secret@")
    refused = covey(lab, "stack", "watch", "gone", "--git", url, check=1)
    assert "cannot be fetched" in refused.err
    shown = covey(lab, "stack", "watch", "gone").out + covey(lab, "stack", "watch").out + refused.err
    assert repo.url.replace("git:", "http:") in shown
    assert "secret" not in shown
    covey(lab, "stack", "watch", "gone", "--stop")
