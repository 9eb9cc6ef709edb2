"""What tests with labs share: programs they cannot do without, images, a cluster for tests that break nothing, and a clean machine at the end."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from node.lab import cluster
from tests.support import labs

# A loaded machine is no reason to fail; a failing example is printed so that it can be run again.
settings.register_profile("covey", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("covey")

LAB_FOLDERS = {"cluster", "e2e"}
PROGRAMS = {
    "docker": "the docker 28 client; scripts/setup --dev says where it comes from",
    "runc": "apt-get install runc",
    "conmon": "apt-get install conmon",
    "nsenter": "apt-get install util-linux",
    "tini": "apt-get install tini",
    "busybox": "apt-get install busybox-static",
    "cfssl": "apt-get install golang-cfssl",
    "openssl": "apt-get install openssl",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Labs last: what is quick to fail fails first."""
    items.sort(key=lambda item: bool(LAB_FOLDERS & set(item.path.parts)))


@pytest.fixture(scope="session", autouse=True)
def _clean_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that cannot run is an error that names what is missing, never a skip; and no lab outlives the session."""
    if not any(LAB_FOLDERS & set(item.path.parts) for item in request.session.items):
        yield
        return
    missing = [f"{name} ({remedy})" for name, remedy in PROGRAMS.items() if not shutil.which(name)]
    if missing:
        pytest.exit(f"tests on labs need: {', '.join(missing)}", returncode=3)
    if os.geteuid():
        pytest.exit("tests on labs need root: they make namespaces", returncode=3)
    for lab in labs.abandoned():
        cluster.down(lab)
    yield
    left = labs.left_over(os.getpid())
    assert not left, "labs of this session left: " + "; ".join(left)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed and LAB_FOLDERS & set(item.path.parts):
        report.sections.extend(labs.daemon_logs())
    return report


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the test's two images."""
    return labs.make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def shared_lab(images: Path) -> Iterator[labs.Cluster]:
    """Three managers and two workers for every test that breaks nothing."""
    with labs.made("shared", 3, 2, archive=images) as found:
        yield found


@pytest.fixture
def lab(shared_lab: labs.Cluster) -> Iterator[labs.Cluster]:
    """The shared lab, with nothing in it before and after."""
    yield shared_lab
    shared_lab.tidy()
