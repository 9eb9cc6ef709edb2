"""The registries file, and the endpoints that it leads to."""

import pytest

from agent.image.registry.registries_config import RegistriesConfig, endpoints, is_insecure, parse_config
from covey.errors import InvalidArgumentError

EXAMPLE = """
insecure-registries = ["registry.lan:5000", "10.0.0.0/8"]
registry-mirrors = ["https://hub.lan/"]
max-concurrent-downloads = 5
[registries."quay.io"]
mirrors = ["http://cache.lan:5000/quay"]
[registries."old.lan"]
insecure = true
"""


def urls(domain: str, *, pull: bool = True, text: str = EXAMPLE) -> list[str]:
    return [endpoint.url for endpoint in endpoints(domain, parse_config(text, "file"), pull=pull)]


def test_pulls_ask_mirrors_first_and_pushes_never_do() -> None:
    assert urls("docker.io") == ["https://hub.lan", "https://registry-1.docker.io"]
    assert urls("docker.io", pull=False) == ["https://registry-1.docker.io"]
    assert urls("quay.io") == ["http://cache.lan:5000/quay", "https://quay.io"]


@pytest.mark.parametrize(
    "domain", ["registry.lan:5000", "10.1.2.3:5000", "old.lan", "127.0.0.1:5000", "localhost:5000", "[::1]:5000"]
)
def test_insecure_registries_are_tried_by_https_then_http(domain: str) -> None:
    assert urls(domain) == [f"https://{domain}", f"http://{domain}"]


@pytest.mark.parametrize(
    "domain", ["registry.lan:5001", "11.1.2.3", "127.0.0.1.example.com", "localhost.example.com:5000"]
)
def test_other_registries_are_verified_https_only(domain: str) -> None:
    (endpoint,) = endpoints(domain, parse_config(EXAMPLE, "file"), pull=True)
    assert (endpoint.url, endpoint.verify) == (f"https://{domain}", True)
    assert not is_insecure(domain, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mirrors = []", "mirrors"),
        ("registry-mirrors = ['ftp://x']", "ftp://x"),
        ("registry-mirrors = ['https://user@x']", "user"),
        ("insecure-registries = ['http://x']", "http://x"),
        ("max-concurrent-downloads = 0", "max-concurrent-downloads"),
        ("[registries.x]\nmirror = 'y'", "mirror"),
        ("= 1", "line 1"),
    ],
)
def test_a_mistake_names_the_file_and_the_key(text: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match="registries.toml is invalid.*") as caught:
        parse_config(text, "registries.toml")
    assert words in caught.value.message


def test_an_empty_file_is_the_default() -> None:
    assert parse_config("", "file") == RegistriesConfig()
