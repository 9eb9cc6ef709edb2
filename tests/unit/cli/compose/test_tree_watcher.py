"""Batches of changed paths from real directories: nothing that changes is missed, and what is ignored is not watched."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

from cli.compose.watch.tree_watcher import TreeWatcher, watch_tops

SECONDS = 20.0


class Watched:
    """A tree ``src`` below a folder; ``changes`` collects paths relative to it until all that are awaited have come."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.src = top / "src"
        self._found: Queue[frozenset[str]] = Queue(1000)
        self._watcher = TreeWatcher(watch_tops([str(self.src)]), self._enters, self._covers)
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _enters(self, folder: str) -> bool:
        return str(self.src).startswith(folder) or (self._covers(folder) and "ignored" not in folder)

    def _covers(self, path: str) -> bool:
        return path == str(self.src) or path.startswith(f"{self.src}/")

    def _collect(self) -> None:
        for batch in self._watcher.batches():
            self._found.put(batch)

    def changes(self, *wanted: str, act: Callable[[], object]) -> set[str]:
        act()
        seen: set[str] = set()
        while not seen >= set(wanted):
            seen |= {os.path.relpath(path, self.src) for path in self._found.get(timeout=SECONDS)}
        return seen

    def close(self) -> None:
        self._watcher.stop()
        self._thread.join(SECONDS)
        self._watcher.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    (tmp_path / "src/deep/er").mkdir(parents=True)
    (tmp_path / "src/ignored").mkdir()
    (tmp_path / "src/deep/old").write_text("old")
    found = Watched(tmp_path)
    yield found
    found.close()


def test_writes_removals_and_modes_are_seen_at_any_depth(watched: Watched) -> None:
    src = watched.src
    assert watched.changes("deep/er/new", act=lambda: (src / "deep/er/new").write_text("x")) == {"deep/er/new"}
    assert watched.changes("deep/old", act=lambda: (src / "deep/old").chmod(0o700)) == {"deep/old"}
    assert watched.changes("deep/old", act=(src / "deep/old").unlink) == {"deep/old"}


def test_an_editors_rename_and_replace_is_one_batch(watched: Watched) -> None:
    def save() -> None:
        (watched.src / "deep/.old.tmp").write_text("new")
        (watched.src / "deep/.old.tmp").rename(watched.src / "deep/old")

    assert watched.changes("deep/old", act=save) == {"deep/old", "deep/.old.tmp"}


def test_new_directories_are_watched_with_what_is_in_them_already(watched: Watched) -> None:
    made = watched.src / "made/at/once"

    def make() -> None:
        made.mkdir(parents=True)
        for number in range(300):
            (made / str(number)).write_text("x")

    names = [f"made/at/once/{number}" for number in range(300)]
    assert watched.changes(*names, act=make) == {"made", "made/at", "made/at/once", *names}
    assert watched.changes("made/at/once/later", act=lambda: (made / "later").write_text("x")) == {"made/at/once/later"}


def test_a_directory_that_is_moved_away_is_reported_with_its_files(watched: Watched) -> None:
    away = watched.top / "away"
    seen = watched.changes("deep/old", act=lambda: (watched.src / "deep").rename(away))
    assert seen == {"deep", "deep/old", "deep/er"}
    (away / "old").write_text("outside now")
    assert watched.changes("deep/old", act=lambda: away.rename(watched.src / "deep")) == {"deep", "deep/old", "deep/er"}


def test_a_whole_tree_that_is_replaced_is_reported(watched: Watched) -> None:
    def replace() -> None:
        shutil.rmtree(watched.src)
        watched.src.mkdir()
        (watched.src / "fresh").write_text("x")

    assert {".", "deep/old", "fresh"} <= watched.changes(".", "deep/old", "fresh", act=replace)
    assert watched.changes("fresh", act=lambda: (watched.src / "fresh").write_text("y")) == {"fresh"}


def test_ignored_directories_are_not_watched(watched: Watched) -> None:
    def act() -> None:
        (watched.src / "ignored/a").write_text("x")
        (watched.src / "seen").write_text("x")

    assert watched.changes("seen", act=act) == {"seen"}


def test_a_path_that_does_not_exist_yet_is_watched_from_above(tmp_path: Path) -> None:
    assert watch_tops([str(tmp_path / "not/there/yet"), str(tmp_path / "x")]) == [str(tmp_path)]


@pytest.mark.timeout(60)
def test_everything_is_reported_when_the_kernels_queue_overflows(tmp_path: Path) -> None:
    """Nobody reads while more happens than the queue holds, so the last changes leave no event."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/gone").write_text("x")
    watcher = TreeWatcher([str(tmp_path)], lambda _: True, lambda path: "/src/" in path)
    try:
        count = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) // 2 + 100
        for number in range(count):  # each is created and closed
            (tmp_path / "src" / str(number)).write_text("x")
        (tmp_path / "src/gone").unlink()
        names = {str(tmp_path / "src" / str(number)) for number in range(count)} | {str(tmp_path / "src/gone")}
        batches = watcher.batches()
        seen: set[str] = set()
        while not seen >= names:
            seen |= next(batches)
        (tmp_path / "src/later").write_text("x")
        while str(tmp_path / "src/later") not in seen:
            seen |= next(batches)
    finally:
        watcher.close()
