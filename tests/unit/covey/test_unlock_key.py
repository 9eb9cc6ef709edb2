"""Unlock keys: Swarm's form."""

import base64

import pytest

from covey import unlockkey
from covey.errors import InvalidArgumentError


def test_a_new_key_has_256_random_bits_and_can_be_parsed() -> None:
    key, other = unlockkey.generate(), unlockkey.generate()
    assert key.startswith("SWMKEY-1-")
    assert len(key) == len("SWMKEY-1-") + 43
    assert "=" not in key
    assert len(unlockkey.parse(key)) == 32
    assert unlockkey.parse(key) != unlockkey.parse(other)
    assert unlockkey.parse(f"  {key}\n") == unlockkey.parse(key)


SHORT = base64.b64encode(bytes(16)).decode().rstrip("=")


@pytest.mark.parametrize(
    "text", ["", "SWMKEY-1-", f"SWMKEY-1-{SHORT}", "SWMKEY-1-!!", "SWMKEY-2-" + "A" * 43, "A" * 43]
)
def test_an_invalid_key_is_refused_and_not_repeated_in_the_message(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="invalid key string") as raised:
        unlockkey.parse(text)
    assert not text or text not in raised.value.message.replace("SWMKEY-1-", "")


def test_a_key_with_something_before_it_is_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        unlockkey.parse(f"key: {unlockkey.generate()}")
