"""Random names for services created without one: an adjective and a bird, as in ``brave_heron``."""

import secrets

_ADJECTIVES = (
    "agile", "bold", "brave", "bright", "calm", "clever", "cosy", "eager", "early", "fair", "fond", "frank",
    "gentle", "glad", "grand", "happy", "hardy", "jolly", "keen", "kind", "lively", "loyal", "merry", "mild",
    "neat", "nimble", "noble", "plain", "proud", "quick", "quiet", "ready", "shy", "sleek", "snug", "spry",
    "steady", "swift", "tidy", "warm",
)  # fmt: skip
_BIRDS = (
    "avocet", "bittern", "bunting", "chough", "crane", "curlew", "dipper", "dotterel", "dunlin", "egret", "eider",
    "fieldfare", "finch", "gannet", "goldeneye", "grebe", "harrier", "heron", "hobby", "ibis", "jackdaw", "kestrel",
    "kite", "lapwing", "linnet", "martin", "merlin", "nightjar", "osprey", "partridge", "petrel", "pipit", "plover",
    "quail", "rail", "raven", "redstart", "robin", "ruff", "shrike", "siskin", "snipe", "starling", "stork",
    "swift", "teal", "tern", "thrush", "wagtail", "wren",
)  # fmt: skip


def generate_name() -> str:
    """A random name such as ``brave_heron``. It may be in use already."""
    return f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_BIRDS)}"
