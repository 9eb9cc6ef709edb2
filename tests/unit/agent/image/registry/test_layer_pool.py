"""How many processes unpack the layers of an image."""

import pytest

from agent.image.registry.layer_pool import MAX_PROCESSES, SMALL_BYTES, process_count

LARGE = SMALL_BYTES + 1


@pytest.mark.parametrize(
    ("blobs", "least", "most"),
    [([], 1, 1), ([10] * 100, 1, 1), ([LARGE], 1, 1), ([LARGE, LARGE], 2, 2), ([LARGE] * 50, 2, MAX_PROCESSES)],
)
def test_small_layers_are_not_worth_a_process_of_their_own(blobs: list[int], least: int, most: int) -> None:
    assert least <= process_count(blobs) <= most
