"""Platforms in query parameters."""

import pytest

from covey.errors import InvalidArgumentError
from engine.translate.image_platform import read_platform


def test_an_object_and_a_text_are_read_alike() -> None:
    assert read_platform('{"os":"linux","architecture":"arm","variant":"v7"}') == "linux/arm/v7"
    assert read_platform("linux/arm64") == "linux/arm64"
    assert read_platform("") == ""


@pytest.mark.parametrize("text", ["{", '{"os":"linux"}', '{"os":1,"architecture":"amd64"}'])
def test_an_incomplete_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="failed to parse platform"):
        read_platform(text)
