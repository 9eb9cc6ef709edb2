"""Parsing of ``--store`` and its files, and refusals by option name."""

import subprocess
import sys
from pathlib import Path

import pytest

from covey.errors import ConflictError, InvalidArgumentError, UnsupportedError
from manager.etcd.target import parse, remove_store_key
from node.node_record import NodeRecord
from node.options import DaemonOptions
from node.options import parse as parse_options
from node.store_check import refuse_with_external_store, require_same_store


def test_endpoints_and_prefix_are_parsed() -> None:
    one = parse("etcd://10.0.0.1:2379,db.example:2379,[fd00::1]:2379/prod/covey/")
    assert one.endpoints == ("10.0.0.1:2379", "db.example:2379", "[fd00::1]:2379")
    assert (one.prefix, one.tls) == ("/prod/covey", False)
    assert parse("etcd://h:1").prefix == "/covey"
    assert str(parse("etcd://h:1/x", ca_file="ca.pem")) == "etcds://h:1/x"


def test_a_ca_file_enables_tls_with_or_without_a_client_certificate() -> None:
    assert parse("etcd://h:1", ca_file="ca").tls
    mutual = parse("etcds://h:1", ca_file="ca", cert_file="c", key_file="k")
    assert (mutual.tls, mutual.cert_file, mutual.key_file) == (True, "c", "k")


@pytest.mark.parametrize(
    ("store", "files", "sentence"),
    [
        ("redis://h:1", {}, "is etcd://HOST:PORT"),
        ("h:2379", {}, "is etcd://HOST:PORT"),
        ("etcd://h", {}, "'h' is not HOST:PORT"),
        ("etcd://h:0", {}, "'h:0' is not HOST:PORT"),
        ("etcd://h:1,,g:1", {}, "'' is not HOST:PORT"),
        ("etcd://h:1,h:1", {}, "name each endpoint once"),
        ("etcd://h:1/a b", {}, "a prefix is up to 63 letters"),
        ("etcd://h:1/a//b", {}, "a prefix is up to 63 letters"),
        ("etcd://h:1/" + "x" * 64, {}, "a prefix is up to 63 letters"),
        ("etcds://h:1", {}, "needs --store-ca"),
        ("etcd://h:1", {"cert_file": "c", "key_file": "k"}, "--store-cert needs --store-ca"),
        ("etcd://h:1", {"ca_file": "ca", "cert_file": "c"}, "--store-cert and --store-key belong together"),
    ],
)
def test_invalid_values_are_refused_by_option_name(store: str, files: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        parse(store, **files)


def test_passwords_are_refused_by_name_and_not_repeated() -> None:
    with pytest.raises(UnsupportedError, match="users and passwords of etcd are not supported yet") as refused:
        parse("etcd://root:hunter2@h:1")
    assert "hunter2" not in refused.value.message


def options(tmp_path: Path, *arguments: str) -> DaemonOptions:
    return parse_options(["--state-dir", str(tmp_path), *arguments])


def test_the_daemon_stores_absolute_paths(tmp_path: Path) -> None:
    found = options(tmp_path, "--store", "etcd://h:1", "--store-ca", "ca.pem")
    assert (found.store, found.store_ca) == ("etcd://h:1", str(Path.cwd() / "ca.pem"))
    with pytest.raises(InvalidArgumentError, match="need --store"):
        options(tmp_path, "--store-ca", "ca.pem")
    with pytest.raises(InvalidArgumentError, match="is not HOST:PORT"):
        options(tmp_path, "--store", "etcd://h")


def record(store: str = "") -> NodeRecord:
    return NodeRecord(node_id="n", cluster_id="c", store=store)


def test_a_manager_restarts_only_with_its_own_store(tmp_path: Path) -> None:
    plain, on_etcd = options(tmp_path), options(tmp_path, "--store", "etcd://a:1/covey")
    require_same_store(plain, None)
    require_same_store(plain, record())
    require_same_store(on_etcd, record())
    require_same_store(on_etcd, record("etcd://b:1,c:1/covey"))
    with pytest.raises(ConflictError, match="start coveyd with --store etcd://b:1/covey"):
        require_same_store(plain, record("etcd://b:1/covey"))
    with pytest.raises(ConflictError, match="at etcd://b:1/other, not at etcd://a:1/covey"):
        require_same_store(on_etcd, record("etcd://b:1/other"))
    (tmp_path / "manager" / "raft").mkdir(parents=True)
    (tmp_path / "manager" / "raft" / "member.json").touch()
    require_same_store(plain, record())
    with pytest.raises(ConflictError, match=r"itself \(Raft\): start coveyd without --store"):
        require_same_store(on_etcd, record())


def test_actions_for_raft_only_name_the_store_in_their_error(tmp_path: Path) -> None:
    refuse_with_external_store(options(tmp_path), "a restore")
    with pytest.raises(UnsupportedError, match="a restore needs managers .* etcd://h:1: back up"):
        refuse_with_external_store(options(tmp_path, "--store", "etcd://h:1"), "a restore")


def test_removing_the_store_key_works_with_and_without_a_file(tmp_path: Path) -> None:
    remove_store_key(tmp_path)
    (tmp_path / "store.key").write_bytes(b"x")
    remove_store_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_store_no_etcd_code_is_imported() -> None:
    """They pay for it in memory otherwise."""
    program = "import sys, manager.main, node.coveyd, node.membership; print(*[m for m in sys.modules if 'etcd' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["manager.etcd", "manager.etcd.target"]
