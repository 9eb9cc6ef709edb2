"""Join tokens, certificates and authorization: wrong, rotated or foreign ones are refused with a reason."""

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
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root

CALL_EACH_METHOD = """
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
def two_clusters() -> Iterator[LabCluster]:
    """Four hosts on one switch: 1 and 2 form a cluster, 3 is another cluster, 4 is in none."""
    with labs.running_lab("ident", 2, 2, init_cluster=False) as found:
        one, two, three, _ = found.hosts
        for host in (one, three):
            found.docker("swarm", "init", "--advertise-addr", host.address, on=host)
        found.docker("swarm", "join", "--token", token(found, one, "worker"), f"{one.address}:2377", on=two)
        yield found


def token(lab: LabCluster, on: LabHost, role: str, *options: str) -> str:
    return lab.docker("swarm", "join-token", "-q", *options, role, on=on).out.strip()


def refused_join(lab: LabCluster, with_token: str, on: LabHost, to: LabHost) -> str:
    """Error output of a join that must be refused and must leave no membership on the host."""
    refused = lab.docker("swarm", "join", "--token", with_token, f"{to.address}:2377", on=on, check=1)
    assert lab.get("/info", on=on)["Swarm"]["LocalNodeState"] == "inactive"
    assert not (on.state_dir / "identity" / "node.crt").exists()
    assert not (on.state_dir / "node.json").exists()
    return refused.err


def names(lab: LabCluster, on: LabHost) -> set[str]:
    return set(lab.nodes(on=on))


def test_a_malformed_token_is_refused(two_clusters: LabCluster) -> None:
    one, _, _, outsider = two_clusters.hosts
    for text in ("nonsense", "SWMTKN-1-short-short", token(two_clusters, one, "worker")[:-1]):
        assert "invalid join token" in refused_join(two_clusters, text, outsider, one)


def test_a_token_with_a_wrong_secret_is_refused_and_makes_no_node(two_clusters: LabCluster) -> None:
    one, _, _, outsider = two_clusters.hosts
    good = token(two_clusters, one, "worker")
    wrong = good[:-25] + ("a" * 25 if not good.endswith("a" * 25) else "b" * 25)
    before = names(two_clusters, one)
    assert "token" in refused_join(two_clusters, wrong, outsider, one)
    assert names(two_clusters, one) == before


def test_after_a_token_rotation_only_the_new_token_is_accepted(two_clusters: LabCluster) -> None:
    one, _, _, outsider = two_clusters.hosts
    old = token(two_clusters, one, "worker")
    manager_before = token(two_clusters, one, "manager")
    new = token(two_clusters, one, "worker", "--rotate")
    assert new != old
    assert token(two_clusters, one, "worker") == new
    assert token(two_clusters, one, "manager") == manager_before
    assert "token" in refused_join(two_clusters, old, outsider, one)
    two_clusters.docker("swarm", "join", "--token", new, f"{one.address}:2377", on=outsider)
    labs.wait(lambda: outsider.name in names(two_clusters, one), "the host with the new token as a node")
    two_clusters.docker("swarm", "leave", on=outsider)
    labs.wait(lambda: two_clusters.nodes(one)[outsider.name]["Status"]["State"] == "down", "the node shown as down")
    two_clusters.docker("node", "rm", outsider.name, on=one)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate that looks like a manager's, and its key."""
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


def test_a_false_manager_is_detected_before_the_token_is_sent(two_clusters: LabCluster, tmp_path: Path) -> None:
    """A false manager that records all requests listens at the join address. It is asked for its root certificate and nothing else."""
    one, two, _, outsider = two_clusters.hosts
    good = token(two_clusters, one, "manager")
    heard = tmp_path / "heard"
    files = [str(path) for path in self_signed(tmp_path)]
    with two_clusters.serving(two, sys.executable, "-c", FALSE_MANAGER, *files, str(heard)):
        said = refused_join(two_clusters, good, outsider, two)
    assert "root certificate does not match" in said
    assert "the token was not sent" in said
    asked = heard.read_bytes()
    assert b"GetRootCertificate" in asked
    assert b"IssueCertificate" not in asked
    assert good.rpartition("-")[2].encode() not in asked


def test_a_token_of_another_cluster_is_refused(two_clusters: LabCluster) -> None:
    one, _, three, outsider = two_clusters.hosts
    said = refused_join(two_clusters, token(two_clusters, one, "worker"), outsider, three)
    assert "is not in the token's cluster" in said


def test_a_join_at_an_address_without_a_manager_names_the_address(two_clusters: LabCluster) -> None:
    one, two, _, outsider = two_clusters.hosts
    good = token(two_clusters, one, "worker")
    said = refused_join(two_clusters, good, outsider, two)
    assert f"{two.address}:2377" in said


def call_with_certificate(
    lab: LabCluster, caller: LabHost, identity: Path | str, root: Path, to: LabHost
) -> dict[str, list[str]]:
    """Status code and details of each call, made from ``caller`` with this certificate."""
    ran = lab.inside(caller, sys.executable, "-c", CALL_EACH_METHOD, f"{to.address}:2378", str(identity), str(root))
    return json.loads(ran.out)


def test_a_worker_certificate_cannot_call_manager_methods(two_clusters: LabCluster) -> None:
    one, two, _, _ = two_clusters.hosts
    identity = two.state_dir / "identity"
    certificate = x509.load_pem_x509_certificate((identity / "node.crt").read_bytes())
    units = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert [unit.value for unit in units] == ["covey-worker"]
    for name, (code, details) in call_with_certificate(two_clusters, two, identity, identity / "root.crt", one).items():
        assert code == "PERMISSION_DENIED", (name, code, details)
        assert "a worker may not call" in details, (name, details)


def test_a_manager_certificate_can_call_manager_methods(two_clusters: LabCluster) -> None:
    """Shows that the test above fails only because of the role."""
    one = two_clusters.hosts[0]
    identity = one.state_dir / "identity"
    said = call_with_certificate(two_clusters, one, identity, identity / "root.crt", one)
    assert said["control read"][0] == "OK"
    assert said["control write"][0] == "INVALID_ARGUMENT"


def test_another_clusters_certificate_is_refused(two_clusters: LabCluster) -> None:
    one, _, three, _ = two_clusters.hosts
    theirs, ours = three.state_dir / "identity", one.state_dir / "identity"
    # The client trusts our root, so only the server can refuse.
    for name, (code, details) in call_with_certificate(two_clusters, three, theirs, ours / "root.crt", one).items():
        assert code in {"UNAVAILABLE", "UNAUTHENTICATED"}, (name, code, details)
    # A node refuses a manager of another cluster, too.
    for name, (code, details) in call_with_certificate(two_clusters, three, theirs, theirs / "root.crt", one).items():
        assert code == "UNAVAILABLE", (name, code, details)


def test_a_client_without_certificate_is_refused(two_clusters: LabCluster) -> None:
    one, _, _, outsider = two_clusters.hosts
    for name, (code, details) in call_with_certificate(
        two_clusters, outsider, "", one.state_dir / "identity" / "root.crt", one
    ).items():
        assert code == "UNAVAILABLE", (name, code, details)


def test_private_keys_have_mode_0600_and_tokens_match_the_root_certificate(two_clusters: LabCluster) -> None:
    one, two, _, _ = two_clusters.hosts
    for host in (one, two):
        assert (host.state_dir / "identity" / "node.key").stat().st_mode & 0o777 == 0o600
        assert host.state_dir.stat().st_mode & 0o077 == 0
    assert (one.state_dir / "manager" / "keys").stat().st_mode & 0o777 == 0o600
    assert not (two.state_dir / "manager").exists()
    root = (two.state_dir / "identity" / "root.crt").read_bytes()
    assert jointoken.parse(token(two_clusters, one, "worker")).digest == jointoken.root_digest(root)
    shown = two_clusters.get("/info", on=one)["Swarm"]["Cluster"]["TLSInfo"]["TrustRoot"]
    assert jointoken.pem_to_der(shown.encode()) == jointoken.pem_to_der(root)


def test_the_command_printed_by_join_token_joins(two_clusters: LabCluster) -> None:
    """The printed command is run unchanged on another host."""
    one, _, _, outsider = two_clusters.hosts
    printed = two_clusters.docker("swarm", "join-token", "manager", on=one).out
    command = next(line.split() for line in printed.splitlines() if "docker swarm join" in line)
    two_clusters.docker(*command[1:], on=outsider)
    labs.wait(
        lambda: (two_clusters.nodes(one)[outsider.name].get("ManagerStatus") or {}).get("Reachability") == "reachable",
        "the new manager",
    )
    refused = two_clusters.docker("swarm", "leave", on=outsider, check=1)
    assert "--force" in refused.err
    two_clusters.docker("node", "demote", outsider.name, on=one)
    labs.wait(lambda: not two_clusters.nodes(one)[outsider.name].get("ManagerStatus"), "the node demoted")
    labs.wait(lambda: two_clusters.docker("swarm", "leave", on=outsider, check=None).code == 0, "the node to leave")


def test_a_member_cannot_init_or_join_another_cluster(two_clusters: LabCluster) -> None:
    one, two, three, _ = two_clusters.hosts
    for host, command in (
        (one, ("swarm", "init")),
        (two, ("swarm", "join", "--token", token(two_clusters, three, "worker"), f"{three.address}:2377")),
    ):
        refused = two_clusters.docker(*command, on=host, check=1)
        assert "already part of a swarm" in refused.err
