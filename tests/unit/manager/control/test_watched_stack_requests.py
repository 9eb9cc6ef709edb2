"""Requests about watched stacks: what is stored, what is refused, and that credentials do not come back."""

import asyncio
from typing import Any

import pytest

from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, TooLargeError, UnsupportedError
from covey.ids import new_id
from covey.objects import Annotations, WatchedStackSpec, WatchStatus, replace
from manager.control import watched_stacks
from manager.control.redaction import redact
from manager.store import Store

SPEC = WatchedStackSpec(annotations=Annotations(name="shop"), url="https://h/a")


def watch(store: Store, **changes: Any) -> str:
    spec = replace(SPEC, **changes)
    return asyncio.run(store.update(lambda tx: watched_stacks.watch_stack(tx, spec, new_id)))


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"url": "file:///srv/app"}, UnsupportedError, "a repository on one host cannot be watched"),
        ({"url": "ext::sh -c true"}, InvalidArgumentError, "is not the URL of a repository"),
        ({"url": "https://h/a#b"}, InvalidArgumentError, "is not the URL of a repository"),
        ({"ref": "a" * 40}, InvalidArgumentError, "is a commit, which never changes"),
        ({"ref": "--upload-pack=x"}, InvalidArgumentError, "is not a branch, tag or commit"),
        ({"path": "../x"}, InvalidArgumentError, "is outside the repository"),
        ({"files": ("/etc/passwd",)}, InvalidArgumentError, "is outside the repository"),
        ({"files": ("",)}, InvalidArgumentError, "the name of a Compose file is empty"),
        ({"interval_ns": 1}, InvalidArgumentError, "is not between 1 s and 7 days"),
        ({"environment": {"A=B": ""}}, InvalidArgumentError, "'A=B' is not the name of a variable"),
        ({"environment": {"A": "x" * 70_000}}, TooLargeError, "the limit is 65536"),
        ({"annotations": Annotations(name="a/b")}, InvalidArgumentError, "invalid stack name: 'a/b'"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    store: Store, changes: dict[str, Any], error: type[CoveyError], reason: str
) -> None:
    with pytest.raises(error) as caught:
        watch(store, **changes)
    assert reason in caught.value.message
    assert not len(store.view().watched_stacks)


def test_another_spec_replaces_the_old_one_and_asks_for_a_deployment(store: Store) -> None:
    first = watch(store)
    asyncio.run(
        store.update(
            lambda tx: tx.update(
                replace(
                    watched_stacks.find_watched(tx, "shop"),
                    status=WatchStatus(attempts=3, deploy_error="x", answered_request=1),
                )
            )
        )
    )
    assert watch(store, url="https://h/b") == first
    (stack,) = store.view().watched_stacks
    assert (stack.spec.url, stack.request) == ("https://h/b", 2)
    assert (stack.status.attempts, stack.status.answered_request, stack.status.deploy_error) == (3, 1, "")


def test_no_more_stacks_are_watched_than_the_limit(store: Store) -> None:
    for number in range(watched_stacks.MAX_WATCHED_STACKS):
        watch(store, annotations=Annotations(name=f"s{number}"))
    with pytest.raises(TooLargeError, match="100 stacks are watched"):
        watch(store)
    watch(store, annotations=Annotations(name="s1"), prune=True)


def test_a_stack_that_is_not_watched_is_named(store: Store) -> None:
    for request in (watched_stacks.request_deployment, watched_stacks.unwatch_stack):
        with pytest.raises(
            NotFoundError, match="stack none is not watched; watch it with covey stack watch none --git"
        ):
            asyncio.run(store.update(lambda tx, request=request: request(tx, "none")))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:word@h/a", "https://h/a"),
        ("https://token@h/a", "https://h/a"),
        ("ssh://git:word@h/a", "ssh://git@h/a"),
        ("git@h:a.git", "git@h:a.git"),
    ],
)
def test_credentials_in_a_url_do_not_leave_the_managers(store: Store, url: str, shown: str) -> None:
    watch(store, url=url)
    (stack,) = store.view().watched_stacks
    assert stack.spec.url == url
    assert redact(stack) == replace(stack, spec=replace(stack.spec, url=shown))
