"""Who is the author of what a call changes: managers are believed whom they name, workers name nobody."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from covey.grpc_errors import USER_METADATA
from covey.objects import Author
from manager.caller import Caller, Peer, author_of, forwarded_user


def context(user: str = "") -> Any:
    metadata = ((USER_METADATA, user), ("other", "x")) if user else ()
    return SimpleNamespace(invocation_metadata=lambda: metadata)


@pytest.mark.parametrize(
    ("peer", "author"),
    [
        (Peer(caller=Caller.LOCAL), Author(user="jörg k", node_id="own")),
        (Peer(caller=Caller.MANAGER, node_id="m2"), Author(user="jörg k", node_id="m2")),
        (Peer(caller=Caller.WORKER, node_id="w1"), Author(node_id="w1")),
        (Peer(caller=Caller.ANONYMOUS), Author(component="a host that joins")),
    ],
)
def test_the_author_of_a_call(peer: Peer, author: Author) -> None:
    assert author_of(peer, context("j%C3%B6rg%20k"), "own") == author


def test_a_follower_passes_on_the_user_only() -> None:
    assert forwarded_user(context("alice")) == ((USER_METADATA, "alice"),)
    assert forwarded_user(context()) == ()
