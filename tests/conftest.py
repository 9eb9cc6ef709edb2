"""Pytest configuration: order of tests, the policy for missing root and programs, and the fixtures of tests on labs.

Invariant: a test that cannot run fails with the name of what is missing; no lab outlives the session.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from node.lab import cluster
from tests.support import labs

# Ordinary runs repeat the same examples, so that a failure comes from the change under test. COVEY_TEST_FRESH=1 draws new ones.
# A loaded machine is no reason to fail; a failing example is printed so that it can be run again.
settings.register_profile(
    "covey",
    deadline=None,
    print_blob=True,
    derandomize="COVEY_TEST_FRESH" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("covey")

TESTS = Path(__file__).parent
LAB_FOLDERS = {"cluster", "e2e"}
STAGES = ("unit", "property", "golden", "simulation", "integration", "cluster", "e2e")
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
    """Order the tests so that quick ones fail first. Parallel workers take whole files in this order."""
    items.sort(key=lambda item: STAGES.index(_folder(item)) if _folder(item) in STAGES else -1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without root, a test that needs it fails; it is never skipped."""
    if os.geteuid() and (item.get_closest_marker("root") or _folder(item) in LAB_FOLDERS):
        pytest.fail("this test needs root: it makes namespaces or mounts file systems", pytrace=False)


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


@pytest.fixture(scope="session", autouse=True)
def _clean_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop the session if programs of the labs are missing, remove labs of killed sessions, and check that this session leaves none."""
    if not any(_folder(item) in LAB_FOLDERS for item in request.session.items):
        yield
        return
    missing = [f"{name} ({remedy})" for name, remedy in PROGRAMS.items() if not shutil.which(name)]
    if missing:
        pytest.exit(f"tests on labs need: {', '.join(missing)}", returncode=3)
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        for lab in labs.abandoned_labs():
            cluster.down(lab)
    yield
    left = labs.leftovers(os.getpid())
    assert not left, "labs of this session left: " + "; ".join(left)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed and _folder(item) in LAB_FOLDERS:
        report.sections.extend(labs.daemon_logs())
    return report


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the test's two images."""
    return labs.make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def shared_lab(images: Path) -> Iterator[labs.LabCluster]:
    """Three managers and two workers for every test that breaks nothing."""
    with labs.running_lab("shared", 3, 2, archive=images) as found:
        yield found


@pytest.fixture
def lab(shared_lab: labs.LabCluster) -> Iterator[labs.LabCluster]:
    """The shared lab, with nothing in it before and after."""
    yield shared_lab
    shared_lab.remove_all_objects()
