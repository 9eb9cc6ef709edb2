"""Image lookup and filters."""

import pytest

from agent.image.lookup import filter_images, resolve_image
from agent.image.model import Image, ImageConfig
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError


def image(digit: str, *tags: str, created: str = "2024-01-01T00:00:00Z", **labels: str) -> Image:
    return Image(
        id="sha256:" + digit * 64, repo_tags=tags, repo_digests=(), created=created, size=0, architecture="amd64",
        os="linux", config=ImageConfig(labels=labels), diff_ids=(),
    )  # fmt: skip


APP = image("a", "app:latest", "team/app:1", created="2024-01-02T00:00:00Z", tier="web")
OTHER = image("b", "other:2", created="2024-01-03T00:00:00.5Z")
LOOSE = image("c")
IMAGES = {each.id: each for each in (APP, OTHER, LOOSE)}
TAGS = {tag: each.id for each in IMAGES.values() for tag in each.repo_tags}


def find(name: str) -> Image:
    return resolve_image(name, IMAGES, TAGS)


def ids(filters: dict[str, list[str]]) -> str:
    return "".join(each.id[7] for each in filter_images(list(IMAGES.values()), filters, find, 1_704_300_000 * 10**9))


def test_a_name_a_full_id_and_an_id_prefix_find_the_image() -> None:
    assert (
        find("app")
        == find("app:latest")
        == find("docker.io/team/app:1")
        == find("a" * 64)
        == find("sha256:aaa")
        == find("aa")
        == APP
    )


def test_a_name_wins_over_a_prefix_of_an_id() -> None:
    named = image("d", "cc:latest")
    assert resolve_image("cc", IMAGES | {named.id: named}, TAGS | {"cc:latest": named.id}) == named


def test_an_ambiguous_prefix_is_a_conflict() -> None:
    twin = image("a")
    twins = IMAGES | {"sha256:" + "a" * 63 + "b": twin}
    with pytest.raises(ConflictError, match="matches 2 images"):
        resolve_image("aaaa", twins, TAGS)


@pytest.mark.parametrize("name", ["nothing", "e" * 64, "app:other", "app@sha256:" + "b" * 64])
def test_a_missing_image_is_named(name: str) -> None:
    with pytest.raises(NotFoundError, match="No such image"):
        find(name)


def test_a_malformed_name_is_reported_differently_from_a_missing_one() -> None:
    with pytest.raises(InvalidArgumentError, match="invalid reference format"):
        find("App:1")


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, "abc"),
        ({"dangling": ["true"]}, "c"),
        ({"dangling": ["false"]}, "ab"),
        ({"label": ["tier"]}, "a"),
        ({"label": ["tier=db"]}, ""),
        ({"reference": ["app"]}, "a"),
        ({"reference": ["*"]}, "ab"),
        ({"reference": ["team/*:1"]}, "a"),
        ({"reference": ["o*:2"]}, "b"),
        ({"before": ["app"]}, "c"),
        ({"since": ["app"]}, "b"),
        ({"until": ["24h"]}, "ac"),
        ({"until": ["2024-01-02T12:00:00Z"]}, "ac"),
    ],
)
def test_filters_match_the_same_images_as_docker(filters: dict[str, list[str]], kept: str) -> None:
    assert ids(filters) == kept


def test_an_unknown_filter_or_value_is_refused() -> None:
    for filters in ({"colour": ["red"]}, {"dangling": ["perhaps"]}, {"until": ["soon"]}):
        with pytest.raises(InvalidArgumentError):
            ids(filters)
