"""Generic resources of a node: how they are written, and what a container is told."""

import pytest

from covey.errors import InvalidArgumentError
from covey.generic_resources import environment, parse
from covey.objects import Resources


def test_a_kind_has_a_number_or_names() -> None:
    found = parse("option", ["gpu=a", "disk=4", " gpu = b ", "fpga=x7"])
    assert found == Resources(generic={"disk": 4}, named_generic=("gpu=a", "gpu=b", "fpga=x7"))
    assert parse("option", []) == Resources()


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["gpu"], "option: could not parse GenericResource: 'gpu'"),
        (["gpu="], "could not parse"),
        (["=a"], "could not parse"),
        (["gpu=a=b"], "could not parse"),
        (["gpu=a,b"], "could not parse"),
        (["my gpu=a"], "could not parse"),
        (["gpu=a", "gpu=a"], "gpu=a is given twice"),
        (["gpu=1", "gpu=2"], "gpu has several entries and a number"),
        (["gpu=a", "gpu=2"], "gpu has several entries and a number"),
        (["gpu=-1"], "not a number from 0"),
        ([f"gpu={1 << 63}"], "not a number from 0"),
        ([f"gpu={'9' * 6000}"], "not a number from 0"),
        ([f"gpu=n{at}" for at in range(1001)], "over the limit of 1000"),
    ],
)
def test_what_is_neither_is_refused_by_name(entries: list[str], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        parse("option", entries)


def test_a_container_is_told_what_its_task_holds() -> None:
    held = Resources(generic={"disk": 4}, named_generic=("gpu=b", "fpga=x7", "gpu=a"))
    assert environment(held) == ("DOCKER_RESOURCE_DISK=4", "DOCKER_RESOURCE_GPU=b,a", "DOCKER_RESOURCE_FPGA=x7")
    assert environment(None) == environment(Resources()) == ()
