"""``docker system df``: the layers that images share, and the choice of types."""

import pytest

from agent.image.model import Image, ImageConfig
from covey.errors import InvalidArgumentError
from engine.translate.disk_usage import TYPES, chosen_types, shared_sizes, write


def image(name: str, layers: dict[str, int]) -> Image:
    return Image(
        id=name, repo_tags=(), repo_digests=(), created="", size=sum(layers.values()), architecture="amd64", os="linux",
        config=ImageConfig(), diff_ids=tuple(layers), layer_sizes=tuple(layers.values()),
    )  # fmt: skip


def test_images_share_the_layers_at_their_common_base() -> None:
    images = (
        image("a", {"base": 100, "a": 1}),
        image("b", {"base": 100, "b": 10}),
        image("other", {"top": 5, "base": 100}),
    )
    assert shared_sizes(images) == {"a": 100, "b": 100, "other": 0}
    assert shared_sizes(images[:1]) == {"a": 0}


def test_a_client_may_choose_types_since_api_1_42() -> None:
    assert chosen_types(["image"], (1, 42)) == {"image"}
    assert chosen_types(["image", "volume"], (1, 50)) == {"image", "volume"}
    assert chosen_types(["image"], (1, 41)) == chosen_types([], (1, 50)) == set(TYPES)
    with pytest.raises(InvalidArgumentError, match="^unknown object type: wrong; use one of container, "):
        chosen_types(["wrong"], (1, 50))


def test_types_that_were_not_asked_for_are_null() -> None:
    assert write(7, [{}], [{}], [{}], {"image"}, cache=[{}]) == {
        "LayersSize": 7, "Images": [{}], "Containers": None, "Volumes": None, "BuildCache": None,
    }  # fmt: skip
