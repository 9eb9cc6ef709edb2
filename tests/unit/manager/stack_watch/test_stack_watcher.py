"""The watcher of stacks on a store: it goes on from the store, deploys once, and ends what is no longer wanted."""

import asyncio
from collections.abc import Callable

import pytest

from covey.errors import CoveyError, InvalidArgumentError, UnavailableError
from covey.ids import new_id
from covey.objects import Annotations, WatchedStack, WatchedStackSpec
from manager.control.watched_stacks import request_deployment, unwatch_stack, watch_stack
from manager.stack_watch.watcher import StackWatcher
from manager.store import MemoryConsensus, Store

SECONDS = 5.0
SPEC = WatchedStackSpec(annotations=Annotations(name="shop"), url="https://h/a")


class Repository:
    """A repository whose newest commit is ``commit``, and the deployments of it."""

    def __init__(self) -> None:
        self.commit = "a"
        self.check_error: CoveyError | None = None
        self.deploy_error: CoveyError | None = None
        self.deployed: list[str] = []
        self.cancelled = 0
        self.is_blocked = False

    async def check(self, _spec: WatchedStackSpec) -> str:
        if self.check_error:
            raise self.check_error
        return self.commit

    async def deploy(self, _spec: WatchedStackSpec) -> str:
        self.deployed.append(self.commit)
        if self.deploy_error:
            raise self.deploy_error
        try:
            while self.is_blocked:  # noqa: ASYNC110 - the test decides when
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.commit


@pytest.fixture
def store() -> Store:
    return Store(MemoryConsensus)


@pytest.fixture
def repository() -> Repository:
    return Repository()


def stack_of(store: Store) -> WatchedStack:
    (found,) = store.view().watched_stacks
    return found


def run(store: Store, repository: Repository, *stages: Callable[[], bool]) -> None:
    """Let a new watcher run until each of the conditions holds, one after another."""

    async def lead() -> None:
        watcher = StackWatcher(store, repository.check, repository.deploy, period_seconds=0.001)
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            task = group.create_task(watcher.run())
            for holds in stages:
                await until(holds)
            task.cancel()

    asyncio.run(lead())


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110 - a state of the store is not an event
        await asyncio.sleep(0.001)


def watched(store: Store) -> None:
    asyncio.run(store.update(lambda tx: watch_stack(tx, SPEC, new_id)))


def is_answered(store: Store) -> bool:
    stack = stack_of(store)
    return stack.status.answered_request == stack.request


def test_a_new_stack_is_deployed_once_whoever_leads(store: Store, repository: Repository) -> None:
    watched(store)
    run(store, repository, lambda: is_answered(store))
    assert stack_of(store).status.deployed_commit == "a"
    asyncio.run(store.update(lambda tx: watch_stack(tx, SPEC, new_id)))
    run(store, repository, lambda: is_answered(store))
    assert repository.deployed == ["a", "a"], "a second watch deploys again"
    run(store, repository, lambda: True)
    assert repository.deployed == ["a", "a"]


def test_an_interrupted_deployment_is_repeated_by_the_next_leader(store: Store, repository: Repository) -> None:
    watched(store)
    repository.is_blocked = True
    run(store, repository, lambda: bool(repository.deployed))
    assert stack_of(store).status.deploying
    assert repository.cancelled == 1, "the leader that ended left its deployment running"
    repository.is_blocked = False
    run(store, repository, lambda: is_answered(store))
    status = stack_of(store).status
    assert (status.deploying, status.deployed_commit, status.attempts) == (False, "a", 2)


def test_errors_are_recorded_beside_the_last_good_commit(store: Store, repository: Repository) -> None:
    watched(store)
    run(store, repository, lambda: is_answered(store))
    repository.commit, repository.deploy_error = "b", InvalidArgumentError("services.web: wrong")
    asyncio.run(store.update(lambda tx: request_deployment(tx, "shop")))
    run(store, repository, lambda: is_answered(store))
    status = stack_of(store).status
    assert (status.deployed_commit, status.attempted_commit) == ("a", "b")
    assert status.deploy_error == "services.web: wrong"
    repository.check_error = UnavailableError("no route")
    asyncio.run(store.update(lambda tx: request_deployment(tx, "shop")))
    run(store, repository, lambda: is_answered(store))
    assert (stack_of(store).status.check_error, stack_of(store).status.check_failures) == ("no route", 1)


def test_a_stack_that_is_no_longer_watched_is_not_deployed_further(store: Store, repository: Repository) -> None:
    watched(store)
    repository.is_blocked = True

    async def lead() -> None:
        watcher = StackWatcher(store, repository.check, repository.deploy, period_seconds=60)
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            task = group.create_task(watcher.run())
            await until(lambda: repository.deployed)
            await watcher.stop(await store.update(lambda tx: unwatch_stack(tx, "shop")))
            assert repository.cancelled == 1, "it is still being deployed after it was stopped"
            task.cancel()

    asyncio.run(lead())


def test_another_spec_ends_the_deployment_of_the_old_one(store: Store, repository: Repository) -> None:
    watched(store)
    repository.is_blocked = True

    async def lead() -> None:
        watcher = StackWatcher(store, repository.check, repository.deploy, period_seconds=0.001)
        other = WatchedStackSpec(annotations=Annotations(name="shop"), url="https://h/b")
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            task = group.create_task(watcher.run())
            await until(lambda: repository.deployed)
            await store.update(lambda tx: watch_stack(tx, other, new_id))
            await until(lambda: repository.cancelled)
            repository.is_blocked = False
            await until(lambda: is_answered(store))
            task.cancel()

    asyncio.run(lead())
    assert stack_of(store).status.deployed_commit == "a"
    assert stack_of(store).spec.url == "https://h/b"
