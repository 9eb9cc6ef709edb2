"""The request table, replayed against Docker's engine and Covey: statuses, messages and JSON shapes agree, or the difference has a reason."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.lab import api
from node.lab.layout import Lab, LabHost
from tests.support import labs, real_engine
from tests.support.request_table import page
from tests.support.request_table.comparison import differences
from tests.support.request_table.deviations import DIFFERENCES
from tests.support.request_table.replay import Answer, replay
from tests.support.request_table.row import Row
from tests.support.request_table.table import BESIDE, TABLE, named_rows, titled_rows

pytestmark = pytest.mark.root

Answers = dict[str, Answer]


@pytest.fixture(scope="module")
def answers(images: Path) -> Iterator[tuple[Answers, Answers]]:
    """The answers of Docker's engine and of Covey, by the titles of the rows."""
    real = Lab(labs.lab_name("docker"), 1, 0)
    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(2) as pool:  # both start at the same time, and both are torn down
            docker = pool.submit(stack.enter_context, real_engine.running(real))
            covey = pool.submit(stack.enter_context, labs.running_lab("table", 1, init_cluster=False))
            hosts = (docker.result().hosts[0], covey.result().hosts[0])
        with ThreadPoolExecutor(2) as pool:
            old, new = pool.map(lambda host: _replay_all(host, images), hosts)
            yield old, new


EXPLAINED = {name: difference.reason for difference in DIFFERENCES for name in difference.rows}
CASES = [(title, name, row) for (title, row), (name, _) in zip(titled_rows(), named_rows(), strict=True)]


@pytest.mark.parametrize(("title", "name", "row"), CASES, ids=[title for title, _, _ in CASES])
def test_both_engines_answer_alike(title: str, name: str, row: Row, answers: tuple[Answers, Answers]) -> None:
    docker, covey = (found[title] for found in answers)
    found = differences(row, docker, covey)
    if name in EXPLAINED:
        assert found, f"no longer differs: remove it from {EXPLAINED[name]!r}"
    else:
        assert not found, f"{row}\nDocker: {docker}\nCovey:  {covey}"


def test_each_listed_difference_is_a_row() -> None:
    assert set(EXPLAINED) <= {name for name, _ in named_rows()}


def test_the_page_lists_the_differences_of_the_table() -> None:
    written = page.written_section(page.PAGE.read_text())
    assert written == page.section(), "python -m tests.support.request_table.page writes the section anew"


def _replay_all(host: LabHost, images: Path) -> Answers:
    """Load the images, then replay the table in order, and beside it the rows that wait long."""
    labs.run(["docker", "-H", f"unix://{host.socket}", "load", "-q", "-i", str(images)])
    saved = {"address": host.address, "host": host.name}
    for name, tag in (("image", labs.IMAGE), ("image2", labs.OTHER_IMAGE)):
        saved[name] = api.call(host.socket, "GET", f"/images/{tag}/json")["Id"]
    with ThreadPoolExecutor(1 + len(BESIDE)) as pool:
        beside = {name: pool.submit(replay, host.socket, rows, dict(saved)) for name, rows in BESIDE.items()}
        found = {name: replay(host.socket, rows, saved) for name, rows in TABLE.items()}
        found |= {name: future.result() for name, future in beside.items()}
    flat = [answer for name in TABLE | BESIDE for answer in found[name]]
    return {title: answer for (title, _), answer in zip(titled_rows(), flat, strict=True)}
