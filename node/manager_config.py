"""Manager configuration: what a new cluster is bootstrapped with, and the config file of each start of the manager process."""

import socket

import msgspec

from covey.objects import ClusterSpec
from covey.states import NodeAvailability
from manager.interface import ManagerConfig, ManagerMode
from node.node_ports import ports_of
from node.node_record import NodeRecord
from node.options import DaemonOptions


class BootstrapSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a new cluster. ``restore_path`` is the backup file that a restored cluster starts from."""

    spec: ClusterSpec = ClusterSpec()
    availability: NodeAvailability = NodeAvailability.ACTIVE
    default_address_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    data_path_port: int = 0
    restore_path: str = ""


def build_manager_config(
    options: DaemonOptions, record: NodeRecord, bootstrap: BootstrapSettings, mode: ManagerMode
) -> ManagerConfig:
    """The configuration of a manager process that starts now in ``mode``."""
    ports = ports_of(options, record)
    return ManagerConfig(
        state_dir=str(options.state_dir),
        run_dir=str(options.run_dir),
        node_id=record.node_id,
        hostname=socket.gethostname(),
        advertise_addr=record.advertise_addr,
        listen_addr=record.listen_addr,
        join_port=ports.join,
        mtls_port=ports.mtls,
        mode=mode,
        join_addrs=record.managers,
        cluster_spec=bootstrap.spec,
        availability=bootstrap.availability,
        default_address_pool=bootstrap.default_address_pool,
        subnet_size=bootstrap.subnet_size,
        data_path_port=bootstrap.data_path_port,
        restore_path=bootstrap.restore_path,
        engine_host=options.local_host,
        store=options.store,
        store_ca=options.store_ca,
        store_cert=options.store_cert,
        store_key=options.store_key,
        log_level=options.logging_level.lower(),
    )
