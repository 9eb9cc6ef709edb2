"""Docker's Swarm: field tables of the cluster's spec, the requests of init, join and unlock, and the cluster as clients see it."""

import base64
import logging
from typing import Any

from covey import trust
from covey.cluster_settings import check_address_pools, check_new_cluster_spec, clamp_cluster_spec
from covey.errors import InvalidArgumentError
from covey.objects import CASettings, Cluster, ClusterSpec, ExternalCA, RaftSettings, TLSInfo, replace
from covey.objects.base import Annotations
from engine.interfaces import SwarmInit, SwarmJoin
from engine.translate import enum_names
from engine.translate.base import DRIVER
from engine.translate.field_table import (
    COUNT,
    COUNT_OR_DEFAULT,
    FLAG,
    INTEGER,
    PEM,
    PEM_WRITE_ONLY,
    TEXT,
    TEXT_MAP,
    TEXT_MAP_ALWAYS,
    FieldTable,
    Inline,
    Row,
    list_of,
    nested,
)
from engine.translate.json_fields import JsonFields
from engine.translate.times import rfc3339

log = logging.getLogger(__name__)

MIN_DATA_PATH_PORT, MAX_DATA_PATH_PORT = 1024, 49151

_ANNOTATIONS = FieldTable(
    Annotations,
    (
        Row(key="Name", field="name", codec=TEXT, default="default", always=True),
        Row(key="Labels", field="labels", codec=TEXT_MAP_ALWAYS, always=True),
    ),
)

RAFT_SETTINGS = FieldTable(
    RaftSettings,
    (
        Row(key="SnapshotInterval", field="snapshot_interval", codec=COUNT_OR_DEFAULT, always=True),
        Row(key="KeepOldSnapshots", field="keep_old_snapshots", codec=COUNT, always=True),
        Row(
            key="LogEntriesForSlowFollowers",
            field="log_entries_for_slow_followers",
            codec=COUNT_OR_DEFAULT,
            always=True,
        ),
        Row(key="ElectionTick", field="election_tick", codec=COUNT_OR_DEFAULT, always=True),
        Row(key="HeartbeatTick", field="heartbeat_tick", codec=COUNT_OR_DEFAULT, always=True),
    ),
)

EXTERNAL_CA = FieldTable(
    ExternalCA,
    (
        Row(key="Protocol", field="protocol", codec=TEXT, always=True),
        Row(key="URL", field="url", codec=TEXT, always=True),
        Row(key="Options", field="options", codec=TEXT_MAP),
        Row(key="CACert", field="ca_cert", codec=PEM),
    ),
)

CA_SETTINGS = FieldTable(
    CASettings,
    (
        Row(key="NodeCertExpiry", field="node_cert_expiry_ns", codec=COUNT_OR_DEFAULT, always=True),
        Row(key="ForceRotate", field="force_rotate", codec=COUNT),
        Row(key="SigningCACert", field="signing_cert", codec=PEM_WRITE_ONLY),
        Row(key="SigningCAKey", field="signing_key", codec=PEM_WRITE_ONLY),
        Row(key="ExternalCAs", field="external_cas", codec=list_of(EXTERNAL_CA)),
    ),
)

CLUSTER_SPEC = FieldTable(
    ClusterSpec,
    (
        Inline(field="annotations", table=_ANNOTATIONS),
        Row(key="Orchestration.TaskHistoryRetentionLimit", field="task_history", codec=INTEGER, always=True),
        Row(key="Raft", field="raft", codec=nested(RAFT_SETTINGS), always=True),
        Row(key="Dispatcher.HeartbeatPeriod", field="heartbeat_period_ns", codec=COUNT_OR_DEFAULT, always=True),
        Row(key="CAConfig", field="ca", codec=nested(CA_SETTINGS), always=True),
        Row(key="TaskDefaults.LogDriver", field="task_log_driver", codec=nested(DRIVER), always=True),
        Row(key="EncryptionConfig.AutoLockManagers", field="auto_lock", codec=FLAG, always=True),
    ),
)


def read_spec(body: Any) -> ClusterSpec:
    """The spec of a request. Zero means the default in most fields, because clients send zero for what was not set."""
    fields = body if isinstance(body, JsonFields) else JsonFields(body)
    spec = CLUSTER_SPEC.read(fields)
    fields.refuse_unsupported()
    return spec


def read_clamped_spec(body: Any) -> ClusterSpec:
    """``read_spec``, with values that Covey cannot use replaced by the nearest ones; the log says which."""
    spec, warnings = clamp_cluster_spec(read_spec(body))
    for text in warnings:
        log.warning("%s", text)
    return spec


def write_spec(spec: ClusterSpec) -> dict[str, Any]:
    return CLUSTER_SPEC.write(spec)


def write_info(cluster: Cluster) -> dict[str, Any]:
    """The cluster as ``GET /info`` of a manager shows it: without join tokens."""
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
    spec = read_clamped_spec(fields.child("Spec") or JsonFields({}))
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
    fields.refuse_unsupported()
    check_new_cluster_spec(request.spec)
    standard = Cluster(id="")
    check_address_pools(
        request.default_address_pool or standard.default_address_pool, request.subnet_size or standard.subnet_size
    )
    _check_data_path_port(request.data_path_port)
    return request


def _check_data_path_port(port: int) -> None:
    if port and not MIN_DATA_PATH_PORT <= port <= MAX_DATA_PATH_PORT:
        raise InvalidArgumentError(
            f"Datapath port number is not in valid range ({MIN_DATA_PATH_PORT}-{MAX_DATA_PATH_PORT})"
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
    fields.refuse_unsupported()
    if not any(request.remote_addrs):
        raise InvalidArgumentError("at least 1 RemoteAddr is required to join")
    if not request.join_token:
        raise InvalidArgumentError("a join token is required to join: ask a manager for `swarm join-token worker`")
    return request


def read_unlock(body: Any) -> str:
    """The unlock key in ``POST /swarm/unlock``."""
    fields = JsonFields(body)
    key = fields.text("UnlockKey")
    fields.refuse_unsupported()
    return key


def _availability(fields: JsonFields) -> str:
    value = fields.text("Availability")
    if value and value not in enum_names.AVAILABILITIES:
        raise InvalidArgumentError(
            f"invalid Availability: {value!r}; use one of {', '.join(enum_names.AVAILABILITIES)}"
        )
    return value


def write_tls(tls: TLSInfo) -> dict[str, Any]:
    """Docker's TLSInfo of the cluster or of a node; empty while it is not known."""
    if not tls.trust_root:
        return {}
    return {
        "TrustRoot": tls.trust_root.decode(),
        "CertIssuerSubject": base64.b64encode(tls.issuer_subject).decode(),
        "CertIssuerPublicKey": base64.b64encode(tls.issuer_public_key).decode(),
    }
