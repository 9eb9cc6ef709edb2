"""Names of images, against the distribution project's grammar and Docker's familiar forms."""

import pytest

from covey.errors import InvalidArgumentError
from covey.image_reference import is_image_id, parse, parse_tagged

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/team/app:2", "docker.io/team/app:2", "team/app:2"),
        ("team/app", "docker.io/team/app:latest", "team/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
        ("registry.example.com/a/b/c:v1", "registry.example.com/a/b/c:v1", "registry.example.com/a/b/c:v1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}", f"app:1@{DIGEST}"),
        ("a_b.c--d__e", "docker.io/library/a_b.c--d__e:latest", "a_b.c--d__e:latest"),
    ],
)
def test_a_short_reference_means_a_full_one(text: str, whole: str, familiar: str) -> None:
    reference = parse(text).with_default_tag()
    assert str(reference) == whole
    assert reference.familiar == familiar
    assert parse(familiar) == parse(whole)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lower-case"),
        ("Busybox", "must be lowercase"),
        ("a//b", "lower-case"),
        ("app:", "tag"),
        ("app:-x", "tag"),
        ("app:" + "t" * 129, "tag"),
        ("app@", "follows the @"),
        ("app@sha256:12", "digest"),
        ("-app", "lower-case"),
        ("app/", "lower-case"),
        ("a" * 64, "image id"),
        ("x/" * 150 + "x", "longer"),
        ("under__score___s", "lower-case"),
        ("ho_st.com/app", "registry host"),
    ],
)
def test_an_invalid_reference_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says) as refused:
        parse(text)
    assert text in refused.value.message


def test_a_tag_is_not_put_under_a_digest() -> None:
    with pytest.raises(InvalidArgumentError, match="digest"):
        parse_tagged(f"app@{DIGEST}")


def test_only_whole_ids_are_ids() -> None:
    assert is_image_id("b" * 64)
    assert is_image_id(DIGEST)
    assert not is_image_id("b" * 63)
