"""Manifests of registries that may be hostile, and the one of an image to push."""

import json

import pytest

from agent.image.content.descriptor import Descriptor
from agent.image.registry import manifests
from agent.image.registry.errors import RegistryContentError, pull_error, status_error
from agent.image.registry.manifests import DOCKER_MANIFEST, OCI_INDEX, decode_manifest, encode_manifest
from covey.errors import CoveyError, NotFoundError, UnsupportedError
from covey.image_reference import parse

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": manifests.DOCKER_CONFIG, "digest": DIGEST, "size": 10}
LAYER = {"mediaType": manifests.DOCKER_LAYER, "digest": DIGEST, "size": 10}


def decode(document: object, content_type: str = DOCKER_MANIFEST) -> manifests.Manifest:
    return decode_manifest(json.dumps(document).encode(), content_type, DIGEST, "app:1")


@pytest.mark.parametrize(
    ("document", "content_type", "error", "words"),
    [
        ({"schemaVersion": 1, "name": "x"}, "text/plain", UnsupportedError, "schema 1"),
        ({}, "application/vnd.docker.distribution.manifest.v1+prettyjws", UnsupportedError, "schema 1"),
        ({"mediaType": "application/x"}, "", UnsupportedError, "application/x"),
        ({"config": {**CONFIG, "mediaType": "application/vnd.cncf.helm"}}, DOCKER_MANIFEST, UnsupportedError, "helm"),
        ({}, DOCKER_MANIFEST, RegistryContentError, "no image config"),
        ({"config": {**CONFIG, "digest": "md5:x"}}, DOCKER_MANIFEST, RegistryContentError, "not a sha256"),
        ({"config": {**CONFIG, "digest": "sha256:../../etc"}}, DOCKER_MANIFEST, RegistryContentError, "not a sha256"),
        ({"config": {**CONFIG, "size": 1 << 40}}, DOCKER_MANIFEST, RegistryContentError, "at most"),
        ({"config": CONFIG, "layers": [{**LAYER, "size": -1}]}, DOCKER_MANIFEST, RegistryContentError, "at most"),
        ({"config": CONFIG, "layers": [LAYER] * 600}, DOCKER_MANIFEST, RegistryContentError, "600 layers"),
        ({"config": 7}, DOCKER_MANIFEST, RegistryContentError, "malformed"),
        ([], DOCKER_MANIFEST, RegistryContentError, "malformed"),
    ],
)
def test_a_manifest_that_is_no_image_is_refused_by_name(
    document: object, content_type: str, error: type[CoveyError], words: str
) -> None:
    with pytest.raises(error) as caught:
        decode(document, content_type)
    assert words in caught.value.message
    assert "app:1" in caught.value.message


def test_the_media_type_in_the_document_wins_and_an_index_is_one() -> None:
    assert decode({"mediaType": OCI_INDEX, "manifests": []}, DOCKER_MANIFEST).is_index
    assert not decode({"config": CONFIG, "layers": [LAYER]}, DOCKER_MANIFEST + "; charset=utf-8").is_index


def test_a_new_manifest_is_dockers_unless_a_layer_is_zstd() -> None:
    layers = [Descriptor(manifests.DOCKER_LAYER, DIGEST, 5)]
    assert json.loads(encode_manifest(Descriptor("", DIGEST, 3), layers))["mediaType"] == DOCKER_MANIFEST
    layers.append(Descriptor(manifests.OCI_LAYER_ZSTD, DIGEST, 5))
    made = json.loads(encode_manifest(Descriptor("", DIGEST, 3), layers))
    assert made["mediaType"] == manifests.OCI_MANIFEST
    assert [layer["mediaType"].rpartition("+")[2] for layer in made["layers"]] == ["gzip", "zstd"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            401,
            b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
            "unauthorized: authentication required",
        ),
        (
            404,
            b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
            "manifest unknown: manifest unknown",
        ),
        (401, b'{"details":"incorrect username or password"}', "unauthorized: authentication required"),
        (502, b"<html>", "received unexpected HTTP status: 502 Bad Gateway"),
        (500, b"[" * 10_000, "received unexpected HTTP status: 500 Bad Gateway"),
        (400, b'{"errors":[{"code":"X","message":"\\u001b[31m' + b"a" * 9_000 + b'"}]}', "x: [31m"),
    ],
)
def test_errors_keep_the_words_of_the_registry_without_its_control_characters(
    status: int, body: bytes, message: str
) -> None:
    error = status_error(status, "Bad Gateway", body)
    assert error.message.startswith(message)
    assert len(error.message) < 500
    assert error.message.isprintable()


def test_a_refused_or_unknown_image_is_not_found_to_the_caller_of_a_pull() -> None:
    denied = pull_error(status_error(403, "", b""), parse("reg.lan/app"))
    assert isinstance(denied, NotFoundError)
    assert denied.message == (
        "pull access denied for reg.lan/app, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )
    unknown = pull_error(status_error(404, "Not Found", b""), parse("app:1"))
    assert unknown.message == "manifest for app:1 not found: manifest unknown: manifest unknown"
    assert not isinstance(pull_error(status_error(401, "", b""), parse("app:1")), NotFoundError)
