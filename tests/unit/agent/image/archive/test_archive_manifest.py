"""The manifest of an image archive, without an archive."""

import hashlib
import json

import pytest

from agent.image.archive.manifest import StagedMember, plan
from agent.image.content.digests import chain_ids
from covey.errors import InvalidArgumentError
from covey.image_platform import ImagePlatform


class Staged:
    """Members of an imagined archive, by name."""

    def __init__(self) -> None:
        self.members: dict[str, StagedMember] = {}
        self.content: dict[str, bytes] = {}

    def put(self, name: str, content: object) -> str:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        self.members[name or f"blobs/sha256/{digest}"] = StagedMember(
            f"/{len(self.members)}", f"sha256:{digest}", len(data)
        )
        self.content[f"sha256:{digest}"] = data
        return f"sha256:{digest}"

    def plan(self) -> list[tuple[str, int, tuple[str, ...]]]:
        found = plan(self.members, lambda member: self.content[member.digest], ImagePlatform("amd64", "linux"))
        return [(image.config.digest, len(image.layers), image.tags) for image in found]


def manifest(staged: Staged, *layers: bytes) -> str:
    config = staged.put("", {"config": 1})
    return staged.put(
        "", {"config": {"digest": config}, "layers": [{"digest": staged.put("", layer)} for layer in layers]}
    )


def test_legacy_links_between_layers_are_followed_inside_the_archive() -> None:
    staged = Staged()
    config = staged.put("c.json", {})
    staged.put("one/layer.tar", b"1")
    staged.members["two/layer.tar"] = StagedMember(link="one/layer.tar")
    staged.put(
        "manifest.json", [{"Config": "c.json", "RepoTags": ["app"], "Layers": ["one/layer.tar", "./two/layer.tar"]}]
    )
    assert staged.plan() == [(config, 2, ("app:latest",))]


def test_circular_links_are_refused() -> None:
    staged = Staged()
    staged.members["c.json"] = StagedMember(link="c.json")
    staged.put("manifest.json", [{"Config": "c.json"}])
    with pytest.raises(InvalidArgumentError, match="does not have"):
        staged.plan()


def test_an_index_gives_the_image_of_this_architecture_and_skips_attestations() -> None:
    staged = Staged()
    mine, other = manifest(staged, b"mine"), manifest(staged, b"o", b"p")
    nested = staged.put("", {"manifests": [
        {"digest": other, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": mine, "platform": {"os": "linux", "architecture": "amd64"}},
    ]})  # fmt: skip
    staged.put("index.json", {"manifests": [
        {"digest": nested, "annotations": {"io.containerd.image.name": "docker.io/library/app:3"}},
        {"digest": nested, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
    ]})  # fmt: skip
    assert [(count, tags) for _, count, tags in staged.plan()] == [(1, ("app:3",))]


def test_an_index_without_this_architecture_is_refused_with_the_available_ones() -> None:
    staged = Staged()
    nested = staged.put(
        "", {"manifests": [{"digest": manifest(staged, b"o"), "platform": {"os": "linux", "architecture": "s390x"}}]}
    )
    staged.put("index.json", {"manifests": [{"digest": nested}]})
    with pytest.raises(InvalidArgumentError, match="linux/s390x"):
        staged.plan()


def test_a_blob_that_does_not_match_its_digest_is_refused() -> None:
    staged = Staged()
    good = manifest(staged, b"layer")
    staged.put(f"blobs/{good.replace(':', '/')}", {"config": {"digest": good}})
    staged.put("index.json", {"manifests": [{"digest": good}]})
    with pytest.raises(InvalidArgumentError, match="does not match its digest"):
        staged.plan()


def test_indexes_that_are_nested_too_deeply_are_refused() -> None:
    staged = Staged()
    digest = manifest(staged, b"x")
    for _ in range(6):
        digest = staged.put("", {"manifests": [{"digest": digest}]})
    staged.put("index.json", {"manifests": [{"digest": digest}]})
    with pytest.raises(InvalidArgumentError, match="nested indexes"):
        staged.plan()


def test_chain_ids_follow_the_specification() -> None:
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_ids([one, two]) == (one, "sha256:" + hashlib.sha256(f"{one} {two}".encode()).hexdigest())
