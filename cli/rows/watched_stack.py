"""Table rows of watched stacks. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.format.sorting import natural_sort_key
from cli.format.table import Row
from cli.format.units import ago, parse_time

HEADERS = {
    "Name": "NAME",
    "Repository": "REPOSITORY",
    "Commit": "COMMIT",
    "Checked": "CHECKED",
    "State": "STATE",
}
TABLE = "{{.Name}}\t{{.Repository}}\t{{.Commit}}\t{{.Checked}}\t{{.State}}"
_COMMIT_DIGITS = 7
_ERROR_WIDTH = 80

Watched = Mapping[str, Any]


def rows(watched: Iterable[Watched], now_ns: int, *, trunc: bool = True) -> list[Row]:
    """One row for each watched stack, in natural order of names."""
    return [_row(item, now_ns, trunc=trunc) for item in sorted(watched, key=lambda one: natural_sort_key(name_of(one)))]


def name_of(watched: Watched) -> str:
    return str(watched["Spec"]["Name"])


def source_text(spec: Mapping[str, Any]) -> str:
    """Where the files of a stack are, as ``--git`` takes it."""
    place = f"{spec['Ref']}:{spec['Path']}" if spec["Path"] else spec["Ref"]
    return f"{spec['URL']}#{place}" if place else str(spec["URL"])


def short_commit(commit: str) -> str:
    return commit[:_COMMIT_DIGITS]


def state(watched: Watched) -> str:
    """What is wrong, or what goes on, or that nothing is to be done."""
    status = watched["Status"]
    if status["Deploying"] and not status["CheckError"]:
        return f"deploying {short_commit(status['AttemptedCommit'])}"
    if error := last_error(watched):
        return error
    if drift := drift_text(watched):
        return drift
    if watched["Request"] != status["AnsweredRequest"] or not status["DeployedCommit"]:
        return "waiting to be deployed"
    return "up to date"


def summary(watched: Watched) -> str:
    """The deployed commit and the state, for a list of stacks."""
    commit, text = short_commit(watched["Status"]["DeployedCommit"]), _cut(state(watched))
    return f"{commit}, {text}" if commit else text


def last_error(watched: Watched) -> str:
    """Why the last deployment or check failed; empty if neither did."""
    status = watched["Status"]
    if status["DeployError"]:
        return f"commit {short_commit(status['AttemptedCommit'])} failed: {status['DeployError']}"
    return str(status["CheckError"])


def drift_text(watched: Watched) -> str:
    """The services that are not as they were deployed; empty if there are none."""
    drift = watched["Drift"]
    parts = [
        f"{', '.join(drift[key])} {word}"
        for key, word in (("Changed", "changed"), ("Removed", "removed"))
        if drift[key]
    ]
    return f"drift: {'; '.join(parts)}" if parts else ""


def _row(watched: Watched, now_ns: int, *, trunc: bool) -> Row:
    status = watched["Status"]
    commit = status["DeployedCommit"]
    return {
        "Name": name_of(watched),
        "Repository": source_text(watched["Spec"]),
        "Commit": short_commit(commit) if trunc else commit,
        "Checked": ago(parse_time(status["CheckedAt"]), now_ns) if status["CheckedAt"] else "never",
        "State": _cut(state(watched)) if trunc else state(watched),
    }


def _cut(text: str) -> str:
    return text if len(text) <= _ERROR_WIDTH else f"{text[: _ERROR_WIDTH - 1]}…"
