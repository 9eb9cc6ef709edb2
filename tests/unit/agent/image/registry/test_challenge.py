"""`WWW-Authenticate` headers of registries."""

import pytest

from agent.image.registry.challenge import Challenge, choose, parse_challenges

BEARER = 'Bearer realm="https://auth.lan/token",service="registry.lan",scope="repository:a/b:pull,push"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            BEARER,
            [
                Challenge(
                    "bearer",
                    {"realm": "https://auth.lan/token", "service": "registry.lan", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        ('Basic realm="a \\"quoted\\" name"', [Challenge("basic", {"realm": 'a "quoted" name'})]),
        (
            "Basic realm=x, Bearer realm=y , service=z",
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y", "service": "z"})],
        ),
        ("Negotiate", [Challenge("negotiate")]),
        ("", []),
        (",,,===", []),
        ('Bearer realm="unclosed', [Challenge("bearer", {})]),
        ("B" * 100_000, [Challenge("b" * 8192)]),
    ],
)
def test_headers_are_parsed(header: str, expected: list[Challenge]) -> None:
    assert list(parse_challenges([header])) == expected


def test_a_token_is_preferred_and_a_bearer_without_realm_is_no_challenge() -> None:
    assert choose(parse_challenges(["Basic realm=x", BEARER])).scheme == "bearer"
    assert choose(parse_challenges(["Bearer service=x", "Basic realm=x"])).scheme == "basic"
    assert choose(parse_challenges(["Digest realm=x"])) is None
