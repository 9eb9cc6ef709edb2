"""Platforms as clients write them, and the choice in an index."""

import pytest

from agent.image.content.descriptor import Descriptor
from covey.errors import InvalidArgumentError, NotFoundError
from covey.image_platform import ImagePlatform, choose, describe, host_architecture, matches, parse_platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux", f"linux/{host_architecture()}"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms_are_normalized(text: str, expected: str) -> None:
    platform = parse_platform(text)
    assert platform is not None
    assert describe(platform) == expected


@pytest.mark.parametrize("text", ["a/b/c/d", "linux/", "/", "linux/am d64", "linux/amd64\n"])
def test_a_malformed_platform_is_refused_in_the_words_of_docker(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot parse platform specifier: invalid argument"):
        parse_platform(text)


def entry(digest: str, architecture: str, variant: str = "", system: str = "linux") -> Descriptor:
    return Descriptor(digest=digest, platform=ImagePlatform(architecture, system, variant))


INDEX = [
    entry("unknown", "unknown", system="unknown"),
    entry("amd64", "amd64"),
    entry("v5", "arm", "v5"),
    entry("v6", "arm", "v6"),
    entry("v8", "arm64", "v8"),
    Descriptor(digest="none"),
]


@pytest.mark.parametrize(
    ("wanted", "digest"),
    [("linux/amd64", "amd64"), ("linux/arm/v7", "v6"), ("linux/arm/v5", "v5"), ("linux/arm64", "v8")],
)
def test_the_newest_variant_that_runs_is_chosen(wanted: str, digest: str) -> None:
    platform = parse_platform(wanted)
    assert platform is not None
    assert choose(INDEX, platform).digest == digest


def test_a_platform_that_is_not_offered_is_named() -> None:
    with pytest.raises(NotFoundError, match="no matching manifest for linux/s390x in the manifest list entries"):
        choose(INDEX, ImagePlatform("s390x", "linux"))
    assert not matches(ImagePlatform("arm", "linux", "v6"), ImagePlatform("arm", "linux", "v7"))
