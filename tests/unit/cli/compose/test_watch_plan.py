"""What ``covey compose watch`` does for changed files: which rule a path is for, and the plan of a batch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.compose.model import Application
from cli.compose.watch.plan import WatchPlan, plan_changes
from cli.compose.watch.rules import WatchRule, watch_rules
from covey.errors import InvalidArgumentError, NotFoundError


def rules(*entries: dict[str, Any], ignore_file: tuple[str, ...] = (), **service: Any) -> list[WatchRule]:
    values = {"image": "web", "build": {"context": "/p"}, "develop": {"watch": list(entries)}, **service}
    found, _ = watch_rules(Application("p", services={"web": values}), ["web"], {"web": ignore_file})
    return found


def sync(**changes: Any) -> dict[str, Any]:
    return {"action": "sync", "path": "/p/src", "target": "/app", **changes}


def plan(found: list[WatchRule], *paths: str, gone: tuple[str, ...] = ()) -> WatchPlan:
    return plan_changes(found, {**dict.fromkeys(paths, True), **dict.fromkeys(gone, False)})


def test_a_changed_file_is_copied_below_the_target_and_a_removed_one_removed_there() -> None:
    made = plan(rules(sync()), "/p/src/a/b.py", "/p/src", "/p/other", "/p/srcs", gone=("/p/src/c",))
    assert made.syncs["web"].copies == {"/app": "/p/src", "/app/a/b.py": "/p/src/a/b.py"}
    assert made.syncs["web"].removals == ("/app/c",)
    assert (made.rebuilds, made.restarts, made.commands) == ((), (), ())


def test_a_rule_about_a_file_copies_it_to_the_target_itself() -> None:
    made = plan(rules(sync(path="/p/settings.ini", target="/etc/settings")), "/p/settings.ini", "/p/settings.ini.bak")
    assert made.syncs["web"].copies == {"/etc/settings": "/p/settings.ini"}


def test_a_relative_target_is_below_the_working_directory() -> None:
    made = plan(rules(sync(target="code"), working_dir="/srv"), "/p/src/a")
    assert made.syncs["web"].copies == {"/srv/code/a": "/p/src/a"}


@pytest.mark.parametrize(
    ("entry", "ignored"),
    [
        ({"ignore": ["*.log"]}, "/p/src/a.log"),
        ({"ignore": ["node_modules/"]}, "/p/src/node_modules/x/y.js"),
        ({"ignore": ["*", "!a.py"]}, "/p/src/b.py"),
        ({"include": ["*.py"]}, "/p/src/a.txt"),
        ({"include": "web/**"}, "/p/src/api/a"),
        ({"ignore": "a"}, "/p/src/a"),
    ],
)
def test_ignored_and_not_included_paths_are_no_changes(entry: dict[str, Any], ignored: str) -> None:
    assert plan(rules(sync(**entry)), ignored) == WatchPlan()


@pytest.mark.parametrize(
    ("entry", "seen"),
    [
        ({"ignore": ["*.log"]}, "/p/src/deep/a.log"),
        ({"ignore": ["*", "!a.py"]}, "/p/src/a.py"),
        ({"include": ["*.py"]}, "/p/src/a.py"),
        ({"include": "web/**"}, "/p/src/web/x/y"),
    ],
)
def test_patterns_are_relative_to_the_path_of_the_rule(entry: dict[str, Any], seen: str) -> None:
    assert plan(rules(sync(**entry)), seen).syncs["web"].count == 1


def test_dockerignore_counts_below_the_build_context() -> None:
    found = rules(sync(), sync(path="/q", target="/q"), ignore_file=("src/*.tmp", "# a comment"))
    made = plan(found, "/p/src/a.tmp", "/p/src/a", "/q/src/a.tmp")
    assert set(made.syncs["web"].copies) == {"/app/a", "/q/src/a.tmp"}


@pytest.mark.parametrize("name", [".git/index", ".a.swp", "a~", "4913", "#a#", ".#a", ".idea/x", "deep/.git/HEAD"])
def test_files_of_git_and_of_editors_are_no_changes(name: str) -> None:
    found = rules(sync())
    assert plan(found, f"/p/src/{name}") == WatchPlan()


def test_a_service_is_built_and_restarted_once_for_many_files() -> None:
    found = rules(
        {"action": "rebuild", "path": "/p/go.mod"},
        {"action": "rebuild", "path": "/p/go.sum"},
        {"action": "restart", "path": "/p/conf"},
        {"action": "restart", "path": "/p/go.mod"},
    )
    assert plan(found, "/p/go.mod", "/p/go.sum").rebuilds == ("web",)
    assert plan(found, "/p/go.mod", "/p/conf/a").restarts == ()
    assert plan(found, "/p/conf/a", "/p/conf/b").restarts == ("web",)


def test_copies_are_followed_by_a_restart_or_a_command() -> None:
    hook = {"command": ["reload"]}
    found = rules(
        sync(action="sync+restart"),
        sync(action="sync+exec", path="/p/ex", exec=hook),
    )
    made = plan(found, "/p/src/a")
    assert (made.syncs["web"].count, made.restarts, made.commands) == (1, ("web",), ())
    made = plan(found, "/p/ex/a", "/p/ex/b")
    assert (made.syncs["web"].count, made.restarts) == (2, ())
    assert [rule.hook for rule in made.commands] == [hook]


def test_what_a_rule_cannot_do_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match='can\'t watch service "web" with action rebuild without a build'):
        rules({"action": "rebuild", "path": "/p"}, build=None)
    with pytest.raises(InvalidArgumentError, match=r"sync\+exec needs an exec.command"):
        rules(sync(action="sync+exec"))
    with pytest.raises(InvalidArgumentError, match="services.web.develop.watch: ignore: syntax error in pattern"):
        rules(sync(ignore=["a["]))
    with pytest.raises(NotFoundError, match="none of the selected services is configured for watch"):
        rules()


def test_services_and_paths_that_are_not_watched_are_named() -> None:
    services = {
        "web": {"develop": {"watch": [sync()]}, "volumes": [{"type": "bind", "source": "/p", "target": "/x"}]},
        "db": {"image": "db"},
    }
    found, notices = watch_rules(Application("p", services=services), ["web", "db"], {})
    assert not found
    assert notices == [
        "path '/p/src' is in a bind mount of service web too, so it is not watched",
        "not watched, without a develop.watch section: db",
    ]


def test_ignored_directories_are_not_entered_unless_a_pattern_excepts_something() -> None:
    (found,) = rules(sync(ignore=["node_modules"]))
    assert [found.enters(path) for path in ("/", "/p", "/p/src", "/p/src/a", "/p/srcs")] == [True] * 4 + [False]
    assert not found.enters("/p/src/node_modules")
    assert not found.enters("/p/src/.git")
    (found,) = rules(sync(ignore=["node_modules", "!node_modules/kept"]))
    assert found.enters("/p/src/node_modules")


NAMES = st.sampled_from(["a", "b", "src", "conf", "x.log", ".git"])
PATHS = st.lists(NAMES, max_size=4).map(lambda parts: "/".join(["/p", *parts]))
TARGETS = st.lists(NAMES, max_size=3).map(lambda parts: "/" + "/".join(parts))
ENTRIES = st.builds(
    lambda action, path, target, ignore: {
        "action": action,
        "path": path,
        "target": target,
        "ignore": ignore,
        "exec": {"command": ["x"]},
    },
    st.sampled_from(["sync", "rebuild", "restart", "sync+restart", "sync+exec"]),
    PATHS,
    TARGETS,
    st.lists(st.sampled_from(["*.log", "a", "**/b", "!a", "conf/"]), max_size=2),
)


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.dictionaries(PATHS, st.booleans(), max_size=8))
def test_a_plan_stays_inside_its_targets_and_loses_no_change(
    entries: list[dict[str, Any]], changes: dict[str, bool]
) -> None:
    """Each covered path is copied or removed exactly where its rule says, what exists is never removed, and ``/`` never."""
    found = rules(*entries)
    made = plan_changes(found, changes)
    copies = made.syncs["web"].copies if made.syncs else {}
    removals = made.syncs["web"].removals if made.syncs else ()
    allowed = {
        (rule.container_path(path), exists)
        for rule in found
        for path, exists in changes.items()
        if rule.action.copies and rule.covers(path)
    }
    assert {(target, True) for target in copies} == {pair for pair in allowed if pair[1]}
    assert {(target, False) for target in removals} <= allowed
    assert "/" not in removals
    for target in removals:
        assert not any(copy == target or copy.startswith(f"{target}/") for copy in copies)
    for target, exists in allowed:
        if not exists and target != "/":
            above = [target.rsplit("/", count)[0] for count in range(target.count("/"))]
            assert any(each in removals for each in (target, *above)) or any(
                copy == target or copy.startswith(f"{target}/") for copy in copies
            )
    touched = any(rule.covers(path) for rule in found for path in changes)
    assert touched == bool(made.rebuilds or made.syncs or made.restarts or made.commands or _only_root(allowed))


def _only_root(allowed: set[tuple[str, bool]]) -> bool:
    return bool(allowed) and allowed == {("/", False)}
