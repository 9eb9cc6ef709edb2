"""Which generic resources of a node a task gets."""

import pytest

from covey.objects import Resources
from manager.scheduler.generic_resources import claim

NODE = Resources(generic={"disk": 4}, named_generic=("gpu=a", "gpu=b", "gpu=c"))


@pytest.mark.parametrize(
    ("wanted", "numbers", "names", "got"),
    [
        (Resources(generic={"disk": 3}), {}, {}, Resources(generic={"disk": 3})),
        (Resources(generic={"disk": 3}), {"disk": 2}, {}, None),
        (Resources(generic={"gpu": 2}), {}, {"gpu=a": 1}, Resources(named_generic=("gpu=b", "gpu=c"))),
        (Resources(generic={"gpu": 3}), {}, {"gpu=a": 1}, None),
        (Resources(generic={"gpu": 1, "disk": 1}), {}, {}, Resources(generic={"disk": 1}, named_generic=("gpu=a",))),
        (Resources(generic={"fpga": 1}), {}, {}, None),
        (Resources(generic={"gpu": 0, "fpga": 0}), {}, {}, Resources()),
        (Resources(named_generic=("gpu=b",)), {}, {}, Resources(named_generic=("gpu=b",))),
        (Resources(named_generic=("gpu=b",)), {}, {"gpu=b": 1}, None),
        (Resources(named_generic=("gpu=z",)), {}, {}, None),
        (
            Resources(generic={"gpu": 1}, named_generic=("gpu=a",)),
            {},
            {},
            Resources(named_generic=("gpu=a", "gpu=b")),
        ),
        # a task holds a number from the time when the kind had no names
        (Resources(generic={"gpu": 2}), {"gpu": 2}, {}, None),
        # a task holds a name that the node no longer has
        (Resources(generic={"gpu": 3}), {}, {"gpu=z": 1}, Resources(named_generic=("gpu=a", "gpu=b", "gpu=c"))),
    ],
)
def test_a_task_gets_what_is_free_or_nothing(
    wanted: Resources, numbers: dict[str, int], names: dict[str, int], got: Resources | None
) -> None:
    assert claim(wanted, NODE, numbers, names) == got
