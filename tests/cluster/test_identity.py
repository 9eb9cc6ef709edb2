"""Who may do what: tokens and certificates that are wrong, old or of another cluster are refused, each with a sentence that says so."""

import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from covey import jointoken
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import Cluster

pytestmark = pytest.mark.root

CALL = """
import json, sys, grpc
from pathlib import Path
from coveypb.v1 import ca_pb2, ca_pb2_grpc, control_pb2, control_pb2_grpc, dispatcher_pb2, dispatcher_pb2_grpc, raft_pb2, raft_pb2_grpc
addr, identity, root = sys.argv[1], sys.argv[2], sys.argv[3]
read = lambda name: Path(identity, name).read_bytes()
credentials = grpc.ssl_channel_credentials(Path(root).read_bytes(), *((read("node.key"), read("node.crt")) if identity else ()))
calls = {
    "control read": lambda c: control_pb2_grpc.ControlStub(c).ListSecrets(control_pb2.ListRequest(), timeout=5),
    "control write": lambda c: control_pb2_grpc.ControlStub(c).CreateSecret(control_pb2.CreateSecretRequest(), timeout=5),
    "raft join": lambda c: raft_pb2_grpc.RaftStub(c).Join(raft_pb2.RaftJoinRequest(node_id="x", addr="192.168.77.9:2378"), timeout=5),
    "raft leave": lambda c: raft_pb2_grpc.RaftStub(c).Leave(raft_pb2.RaftLeaveRequest(node_id="x"), timeout=5),
    "raft exchange": lambda c: raft_pb2_grpc.RaftStub(c).Exchange(iter([raft_pb2.RaftBatch()]), timeout=5),
    "issue": lambda c: ca_pb2_grpc.CertificateAuthorityStub(c).IssueCertificate(ca_pb2.IssueCertificateRequest(), timeout=5),
}
said = {}
for name, call in calls.items():
    with grpc.secure_channel(addr, credentials, options=(("grpc.ssl_target_name_override", "covey"),)) as channel:
        try:
            call(channel)
            said[name] = ["OK", ""]
        except grpc.RpcError as error:
            said[name] = [error.code().name, error.details()]
print(json.dumps(said))
"""


FALSE_MANAGER = """
import sys, grpc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from coveypb.v1 import ca_pb2
certificate, key, heard = (Path(name) for name in sys.argv[1:])
class All(grpc.GenericRpcHandler):
    def service(self, details):
        def answer(request, context):
            with heard.open("ab") as file:
                file.write(details.method.encode() + b" " + request)
            return ca_pb2.GetRootCertificateResponse(certificate=certificate.read_bytes()).SerializeToString()
        return grpc.unary_unary_rpc_method_handler(answer)
server = grpc.server(ThreadPoolExecutor(2), handlers=(All(),))
server.add_secure_port("0.0.0.0:2377", grpc.ssl_server_credentials(((key.read_bytes(), certificate.read_bytes()),)))
server.start()
print("serves", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def strangers() -> Iterator[Cluster]:
    """Four hosts on one switch: 1 and 2 are a cluster, 3 is another one, 4 is nobody's."""
    with labs.made("ident", 2, 2, form=False) as found:
        one, two, three, _ = found.hosts
        for host in (one, three):
            found.docker("swarm", "init", "--advertise-addr", host.address, on=host)
        found.docker("swarm", "join", "--token", token(found, one, "worker"), f"{one.address}:2377", on=two)
        yield found


def token(lab: Cluster, on: LabHost, role: str, *options: str) -> str:
    return lab.docker("swarm", "join-token", "-q", *options, role, on=on).out.strip()


def join(lab: Cluster, with_token: str, on: LabHost, to: LabHost) -> str:
    """The client's words on a join that must be refused, and that leaves the host a member of nothing."""
    refused = lab.docker("swarm", "join", "--token", with_token, f"{to.address}:2377", on=on, check=1)
    assert lab.get("/info", on=on)["Swarm"]["LocalNodeState"] == "inactive"
    assert not (on.state_dir / "identity" / "node.crt").exists()
    assert not (on.state_dir / "node.json").exists()
    return refused.err


def names(lab: Cluster, on: LabHost) -> set[str]:
    return set(lab.nodes(on=on))


def test_a_token_that_is_none_is_refused_by_its_form(strangers: Cluster) -> None:
    one, _, _, nobody = strangers.hosts
    for text in ("nonsense", "SWMTKN-1-short-short", token(strangers, one, "worker")[:-1]):
        assert "invalid join token" in join(strangers, text, nobody, one)


def test_a_wrong_secret_is_refused_and_makes_no_node(strangers: Cluster) -> None:
    one, _, _, nobody = strangers.hosts
    good = token(strangers, one, "worker")
    wrong = good[:-25] + ("a" * 25 if not good.endswith("a" * 25) else "b" * 25)
    before = names(strangers, one)
    assert "token" in join(strangers, wrong, nobody, one)
    assert names(strangers, one) == before


def test_a_rotated_token_is_refused_and_the_new_one_is_not(strangers: Cluster) -> None:
    one, _, _, nobody = strangers.hosts
    old = token(strangers, one, "worker")
    manager_before = token(strangers, one, "manager")
    new = token(strangers, one, "worker", "--rotate")
    assert new != old
    assert token(strangers, one, "worker") == new
    assert token(strangers, one, "manager") == manager_before
    assert "token" in join(strangers, old, nobody, one)
    strangers.docker("swarm", "join", "--token", new, f"{one.address}:2377", on=nobody)
    labs.wait(lambda: nobody.name in names(strangers, one), "the host that holds the new token")
    strangers.docker("swarm", "leave", on=nobody)
    labs.wait(lambda: strangers.nodes(one)[nobody.name]["Status"]["State"] == "down", "its leave seen")
    strangers.docker("node", "rm", nobody.name, on=one)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate as a manager's, of nobody's cluster, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "covey")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - dt.timedelta(1), now + dt.timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("covey")]), critical=False)
    certificate, secret = folder / "false.crt", folder / "false.key"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return certificate, secret


def test_a_false_manager_is_refused_before_the_tokens_secret_is_told(strangers: Cluster, tmp_path: Path) -> None:
    """A false manager that writes down all it hears stands where the token's bearer is sent. It is asked for its root, and for nothing more."""
    one, two, _, nobody = strangers.hosts
    good = token(strangers, one, "manager")
    heard = tmp_path / "heard"
    files = [str(path) for path in self_signed(tmp_path)]
    with strangers.serving(two, sys.executable, "-c", FALSE_MANAGER, *files, str(heard)):
        said = join(strangers, good, nobody, two)
    assert "root certificate does not match" in said
    assert "the token was not sent" in said
    asked = heard.read_bytes()
    assert b"GetRootCertificate" in asked
    assert b"IssueCertificate" not in asked
    assert good.rpartition("-")[2].encode() not in asked


def test_a_token_of_another_cluster_is_refused(strangers: Cluster) -> None:
    one, _, three, nobody = strangers.hosts
    said = join(strangers, token(strangers, one, "worker"), nobody, three)
    assert "is not in the token's cluster" in said


def test_an_address_where_no_manager_listens_is_named(strangers: Cluster) -> None:
    one, two, _, nobody = strangers.hosts
    good = token(strangers, one, "worker")
    said = join(strangers, good, nobody, two)
    assert f"{two.address}:2377" in said


def certificate_calls(
    lab: Cluster, caller: LabHost, identity: Path | str, root: Path, to: LabHost
) -> dict[str, list[str]]:
    """What each call is answered when it comes from a host with these files."""
    ran = lab.inside(caller, sys.executable, "-c", CALL, f"{to.address}:2378", str(identity), str(root))
    return json.loads(ran.out)


def test_a_workers_certificate_opens_no_managers_method(strangers: Cluster) -> None:
    one, two, _, _ = strangers.hosts
    identity = two.state_dir / "identity"
    certificate = x509.load_pem_x509_certificate((identity / "node.crt").read_bytes())
    units = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert [unit.value for unit in units] == ["covey-worker"]
    for name, (code, details) in certificate_calls(strangers, two, identity, identity / "root.crt", one).items():
        assert code == "PERMISSION_DENIED", (name, code, details)
        assert "a worker may not call" in details, (name, details)


def test_a_managers_certificate_does_open_them(strangers: Cluster) -> None:
    """Without this the test above could pass for any reason at all."""
    one = strangers.hosts[0]
    identity = one.state_dir / "identity"
    said = certificate_calls(strangers, one, identity, identity / "root.crt", one)
    assert said["control read"][0] == "OK"
    assert said["control write"][0] == "INVALID_ARGUMENT"


def test_another_clusters_certificate_is_refused(strangers: Cluster) -> None:
    one, _, three, _ = strangers.hosts
    theirs, ours = three.state_dir / "identity", one.state_dir / "identity"
    # it trusts our root, so that only our side can refuse
    for name, (code, details) in certificate_calls(strangers, three, theirs, ours / "root.crt", one).items():
        assert code in {"UNAVAILABLE", "UNAUTHENTICATED"}, (name, code, details)
    # and a node does not speak to a manager of another cluster either
    for name, (code, details) in certificate_calls(strangers, three, theirs, theirs / "root.crt", one).items():
        assert code == "UNAVAILABLE", (name, code, details)


def test_no_certificate_is_no_entry(strangers: Cluster) -> None:
    one, _, _, nobody = strangers.hosts
    for name, (code, details) in certificate_calls(
        strangers, nobody, "", one.state_dir / "identity" / "root.crt", one
    ).items():
        assert code == "UNAVAILABLE", (name, code, details)


def test_keys_are_readable_by_root_alone_and_tokens_match_the_root(strangers: Cluster) -> None:
    one, two, _, _ = strangers.hosts
    for host in (one, two):
        assert (host.state_dir / "identity" / "node.key").stat().st_mode & 0o777 == 0o600
        assert host.state_dir.stat().st_mode & 0o077 == 0
    assert (one.state_dir / "manager" / "keys").stat().st_mode & 0o777 == 0o600
    assert not (two.state_dir / "manager").exists()
    root = (two.state_dir / "identity" / "root.crt").read_bytes()
    assert jointoken.parse(token(strangers, one, "worker")).digest == jointoken.root_digest(root)
    shown = strangers.get("/info", on=one)["Swarm"]["Cluster"]["TLSInfo"]["TrustRoot"]
    assert jointoken.pem_to_der(shown.encode()) == jointoken.pem_to_der(root)


def test_the_printed_command_joins(strangers: Cluster) -> None:
    """What join-token prints is typed as it stands on another host."""
    one, _, _, nobody = strangers.hosts
    printed = strangers.docker("swarm", "join-token", "manager", on=one).out
    command = next(line.split() for line in printed.splitlines() if "docker swarm join" in line)
    strangers.docker(*command[1:], on=nobody)
    labs.wait(
        lambda: (strangers.nodes(one)[nobody.name].get("ManagerStatus") or {}).get("Reachability") == "reachable",
        "the new manager",
    )
    refused = strangers.docker("swarm", "leave", on=nobody, check=1)
    assert "--force" in refused.err
    strangers.docker("node", "demote", nobody.name, on=one)
    labs.wait(lambda: not strangers.nodes(one)[nobody.name].get("ManagerStatus"), "the demotion")
    labs.wait(lambda: strangers.docker("swarm", "leave", on=nobody, check=None).code == 0, "the leave")


def test_a_second_membership_is_refused(strangers: Cluster) -> None:
    one, two, three, _ = strangers.hosts
    for host, command in (
        (one, ("swarm", "init")),
        (two, ("swarm", "join", "--token", token(strangers, three, "worker"), f"{three.address}:2377")),
    ):
        refused = strangers.docker(*command, on=host, check=1)
        assert "already part of a swarm" in refused.err
