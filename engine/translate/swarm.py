"""Docker's Swarm, its spec and the requests of init and join, and our Cluster."""

import base64
from typing import Any

from covey import trust
from covey.cluster_settings import check_address_pools, check_new_cluster_spec
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import CASettings, Cluster, ClusterSpec, ExternalCA, RaftSettings, TLSInfo, replace
from covey.objects.base import Annotations
from engine.interfaces import SwarmInit, SwarmJoin
from engine.translate import enum_names
from engine.translate.container_spec import DRIVER
from engine.translate.json_fields import JsonFields, omit_empty
from engine.translate.times import rfc3339

DATA_PATH_PORT = 4789
_DEFAULT = ClusterSpec()


def read_spec(body: Any) -> ClusterSpec:
    """Zero means the default, as clients send zeros for what was not asked."""
    fields = JsonFields(body) if not isinstance(body, JsonFields) else body
    history = fields.read("Orchestration", lambda part: part.number("TaskHistoryRetentionLimit", _DEFAULT.task_history))
    spec = ClusterSpec(
        annotations=Annotations(name=fields.text("Name") or "default", labels=fields.text_map("Labels")),
        task_history=_DEFAULT.task_history if history is None else history,
        raft=fields.read("Raft", _read_raft) or RaftSettings(),
        heartbeat_period_ns=fields.read("Dispatcher", lambda part: part.count("HeartbeatPeriod"))
        or _DEFAULT.heartbeat_period_ns,
        ca=fields.read("CAConfig", _read_ca) or CASettings(),
        auto_lock=bool(fields.read("EncryptionConfig", lambda part: part.flag("AutoLockManagers"))),
        task_log_driver=fields.read("TaskDefaults", lambda part: part.read("LogDriver", DRIVER.read)),
    )
    fields.refuse_unknown()
    return spec


def write_spec(spec: ClusterSpec) -> dict[str, Any]:
    return {
        "Name": spec.annotations.name,
        "Labels": spec.annotations.labels,
        "Orchestration": {"TaskHistoryRetentionLimit": spec.task_history},
        "Raft": {
            "SnapshotInterval": spec.raft.snapshot_interval,
            "KeepOldSnapshots": spec.raft.keep_old_snapshots,
            "LogEntriesForSlowFollowers": spec.raft.log_entries_for_slow_followers,
            "ElectionTick": spec.raft.election_tick,
            "HeartbeatTick": spec.raft.heartbeat_tick,
        },
        "Dispatcher": {"HeartbeatPeriod": spec.heartbeat_period_ns},
        "CAConfig": {
            "NodeCertExpiry": spec.ca.node_cert_expiry_ns,
            **omit_empty(
                ForceRotate=spec.ca.force_rotate, ExternalCAs=[_write_external(ca) for ca in spec.ca.external_cas]
            ),
        },
        "TaskDefaults": {} if spec.task_log_driver is None else {"LogDriver": DRIVER.write(spec.task_log_driver)},
        "EncryptionConfig": {"AutoLockManagers": spec.auto_lock},
    }


def write_info(cluster: Cluster) -> dict[str, Any]:
    """The cluster as every manager's ``GET /info`` shows it: without its tokens."""
    return {
        "ID": cluster.id,
        "Version": {"Index": cluster.meta.version},
        "CreatedAt": rfc3339(cluster.meta.created_at_ns),
        "UpdatedAt": rfc3339(cluster.meta.updated_at_ns),
        "Spec": write_spec(cluster.spec),
        "TLSInfo": write_tls(trust.expected_tls_info(cluster.root_ca)),
        "RootRotationInProgress": cluster.root_ca.rotation is not None,
        "DefaultAddrPool": list(cluster.default_address_pool),
        "SubnetSize": cluster.subnet_size,
        "DataPathPort": cluster.data_path_port,
    }


def write(cluster: Cluster) -> dict[str, Any]:
    """The cluster as ``GET /swarm`` shows it."""
    tokens = {"Worker": cluster.root_ca.join_token_worker, "Manager": cluster.root_ca.join_token_manager}
    return {**write_info(cluster), "JoinTokens": tokens}


def read_init(body: Any) -> SwarmInit:
    fields = JsonFields(body)
    force_new_cluster = fields.flag("ForceNewCluster")
    locked = fields.flag("AutoLockManagers")
    spec = read_spec(fields.child("Spec") or JsonFields({}))
    request = SwarmInit(
        listen_addr=fields.text("ListenAddr"),
        advertise_addr=fields.text("AdvertiseAddr"),
        data_path_addr=fields.text("DataPathAddr"),
        data_path_port=fields.count("DataPathPort"),
        default_address_pool=fields.text_list("DefaultAddrPool"),
        subnet_size=fields.count("SubnetSize"),
        availability=_availability(fields),
        spec=replace(spec, auto_lock=True) if locked else spec,
        force_new_cluster=force_new_cluster,
    )
    fields.refuse_unknown()
    check_new_cluster_spec(request.spec)
    standard = Cluster(id="")
    check_address_pools(
        request.default_address_pool or standard.default_address_pool, request.subnet_size or standard.subnet_size
    )
    _refuse_data_path(request.advertise_addr, request.data_path_addr, request.data_path_port)
    return request


def _refuse_data_path(advertise_addr: str, data_path_addr: str, data_path_port: int = 0) -> None:
    """Tunnels end at the advertised address, on one port."""
    if data_path_addr not in {"", advertise_addr}:
        raise UnsupportedError(
            f"a data path of its own (--data-path-addr {data_path_addr}) is not supported by Covey yet: "
            "traffic between containers goes to the advertised address; remove it"
        )
    if data_path_port not in {0, DATA_PATH_PORT}:
        raise UnsupportedError(
            f"the data path port {data_path_port} is not supported by Covey yet: it is always {DATA_PATH_PORT}; remove it"
        )


def read_join(body: Any) -> SwarmJoin:
    fields = JsonFields(body)
    request = SwarmJoin(
        listen_addr=fields.text("ListenAddr"),
        advertise_addr=fields.text("AdvertiseAddr"),
        data_path_addr=fields.text("DataPathAddr"),
        remote_addrs=fields.text_list("RemoteAddrs"),
        join_token=fields.text("JoinToken"),
        availability=_availability(fields),
    )
    fields.refuse_unknown()
    _refuse_data_path(request.advertise_addr, request.data_path_addr)
    if not any(request.remote_addrs):
        raise InvalidArgumentError("at least 1 RemoteAddr is required to join")
    if not request.join_token:
        raise InvalidArgumentError(
            "a join token is required to join: ask a manager for `docker swarm join-token worker`"
        )
    return request


def read_unlock(body: Any) -> str:
    """The key of ``POST /swarm/unlock``."""
    fields = JsonFields(body)
    key = fields.text("UnlockKey")
    fields.refuse_unknown()
    return key


def _availability(fields: JsonFields) -> str:
    value = fields.text("Availability")
    if value and value not in enum_names.AVAILABILITIES:
        raise InvalidArgumentError(
            f"invalid Availability: {value!r}; use one of {', '.join(enum_names.AVAILABILITIES)}"
        )
    return value


def _read_raft(fields: JsonFields) -> RaftSettings:
    standard = RaftSettings()
    return RaftSettings(
        snapshot_interval=fields.count("SnapshotInterval") or standard.snapshot_interval,
        keep_old_snapshots=fields.count("KeepOldSnapshots"),
        log_entries_for_slow_followers=fields.count("LogEntriesForSlowFollowers")
        or standard.log_entries_for_slow_followers,
        election_tick=fields.count("ElectionTick") or standard.election_tick,
        heartbeat_tick=fields.count("HeartbeatTick") or standard.heartbeat_tick,
    )


def _read_ca(fields: JsonFields) -> CASettings:
    return CASettings(
        node_cert_expiry_ns=fields.count("NodeCertExpiry") or CASettings().node_cert_expiry_ns,
        force_rotate=fields.count("ForceRotate"),
        signing_cert=fields.text("SigningCACert").encode(),
        signing_key=fields.text("SigningCAKey").encode(),
        external_cas=fields.read_all("ExternalCAs", _read_external),
    )


def _read_external(fields: JsonFields) -> ExternalCA:
    return ExternalCA(
        protocol=fields.text("Protocol") or "cfssl",
        url=fields.text("URL"),
        options=fields.text_map("Options"),
        ca_cert=fields.text("CACert").encode(),
    )


def _write_external(ca: ExternalCA) -> dict[str, Any]:
    return {"Protocol": ca.protocol, "URL": ca.url, **omit_empty(Options=ca.options, CACert=ca.ca_cert.decode())}


def write_tls(tls: TLSInfo) -> dict[str, Any]:
    """Docker's TLSInfo of the cluster or of a node; empty while nothing is known."""
    if not tls.trust_root:
        return {}
    return {
        "TrustRoot": tls.trust_root.decode(),
        "CertIssuerSubject": base64.b64encode(tls.issuer_subject).decode(),
        "CertIssuerPublicKey": base64.b64encode(tls.issuer_public_key).decode(),
    }
