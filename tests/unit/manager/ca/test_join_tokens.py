"""Join tokens: form, role, rotation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey import jointoken
from covey.errors import InvalidArgumentError, UnauthenticatedError
from covey.objects import ClusterSpec
from covey.states import NodeRole
from manager.ca.certificates import create_root
from manager.ca.cluster_trust import new_cluster, role_of_token, with_new_tokens

NOW = 1_800_000_000_000_000_000


def test_a_token_has_swarms_form_and_can_be_parsed() -> None:
    root = create_root("cluster", NOW)
    token = jointoken.generate(root.cert)
    assert re.fullmatch(r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", str(token))
    assert jointoken.parse(str(token)) == token
    assert jointoken.parse(f"  {token}\n") == token


def test_the_digest_depends_on_the_root_only() -> None:
    one, other = create_root("one", NOW), create_root("other", NOW)
    assert jointoken.generate(one.cert).digest == jointoken.generate(one.cert).digest
    assert jointoken.generate(one.cert).secret != jointoken.generate(one.cert).secret
    assert jointoken.root_digest(one.cert) != jointoken.root_digest(other.cert)


@given(st.text(max_size=120))
def test_an_invalid_token_is_refused(text: str) -> None:
    if re.fullmatch(r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", text.strip()):
        return
    with pytest.raises(InvalidArgumentError):
        jointoken.parse(text)


def test_each_token_gives_its_role_until_it_is_rotated() -> None:
    cluster = new_cluster(ClusterSpec(), NOW)
    worker, manager = cluster.root_ca.join_token_worker, cluster.root_ca.join_token_manager
    assert role_of_token(cluster, worker) is NodeRole.WORKER
    assert role_of_token(cluster, manager) is NodeRole.MANAGER
    after = with_new_tokens(cluster, worker=True, manager=False)
    assert after.root_ca.join_token_manager == manager
    with pytest.raises(UnauthenticatedError, match="rotated or mistyped"):
        role_of_token(after, worker)
    assert role_of_token(after, after.root_ca.join_token_worker) is NodeRole.WORKER


def test_another_clusters_token_and_a_rotated_one_have_different_errors() -> None:
    cluster, other = new_cluster(ClusterSpec(), NOW), new_cluster(ClusterSpec(), NOW)
    with pytest.raises(UnauthenticatedError, match="another cluster"):
        role_of_token(cluster, other.root_ca.join_token_worker)
