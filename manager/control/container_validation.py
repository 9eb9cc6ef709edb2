"""Validation of a service's container: image, mounts, health check, DNS; resolves secrets and configs to ids.

As in Docker, whether a mount's source and target fit is judged by the node that runs a task.

Pure. Called by ``service_validation``.
"""

import ipaddress

from covey import image_reference, placeholders
from covey.errors import InvalidArgumentError, TooLargeError, UnsupportedError
from covey.objects import (
    Annotations,
    ConfigReference,
    ContainerSpec,
    DNSConfig,
    FileTarget,
    HealthConfig,
    Mount,
    SecretReference,
    Task,
    replace,
)
from covey.payload_template import check_references
from covey.secret_versions import base_name
from covey.states import MountType
from manager.control.process_validation import require_process_settings
from manager.store import View

MAX_REFERENCES = 128
_MIN_HEALTH_NS = 1_000_000
_HEALTH_KINDS = frozenset({"NONE", "CMD", "CMD-SHELL"})


def resolve_container(view: View, spec: ContainerSpec, service: Annotations) -> ContainerSpec:
    """The valid spec, with the ids and names of its secrets and configs filled in. ``service`` is what templates may use of the service."""
    if not spec.image:
        raise InvalidArgumentError("ContainerSpec: image reference must be provided")
    _require_image_name(spec.image)
    _require_valid_templates(spec, service)
    _require_mounts(spec.mounts)
    _require_healthcheck(spec.healthcheck)
    _require_dns(spec.dns)
    require_process_settings(spec)
    if spec.stop_grace_ns is not None and spec.stop_grace_ns < 0:
        raise InvalidArgumentError("ContainerSpec: stop-grace-period cannot be negative")
    if len(spec.secrets) > MAX_REFERENCES or len(spec.configs) > MAX_REFERENCES:
        raise TooLargeError(f"a service may use at most {MAX_REFERENCES} secrets and {MAX_REFERENCES} configs")
    secrets = tuple(_resolved_secret(view, reference) for reference in spec.secrets)
    configs = tuple(_resolved_config(view, reference) for reference in spec.configs)
    _require_distinct("secret", [(reference.secret_name, reference.file.name) for reference in secrets])
    _require_distinct("config", [(reference.config_name, reference.file.name) for reference in configs])
    resolved = replace(spec, secrets=secrets, configs=configs)
    _require_payload_references(view, resolved)
    return resolved


def _require_payload_references(view: View, spec: ContainerSpec) -> None:
    """Refuses templated secrets and configs that need others which the service does not have."""
    for secret in filter(None, (view.secrets.get(reference.secret_id) for reference in spec.secrets)):
        check_references(f"secret {secret.spec.annotations.name}", secret.spec.templating, secret.spec.data, spec)
    for config in filter(None, (view.configs.get(reference.config_id) for reference in spec.configs)):
        check_references(f"config {config.spec.annotations.name}", config.spec.templating, config.spec.data, spec)


def _require_image_name(image: str) -> None:
    if image_reference.is_image_id(image):
        return
    try:
        image_reference.parse(image)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f'ContainerSpec: "{image}" is not a valid repository/tag; {error.message}') from None


def _require_valid_templates(spec: ContainerSpec, service: Annotations) -> None:
    sample = Task(id="", service_annotations=service)
    placeholders.check("Hostname", spec.hostname, sample)
    for entry in spec.env:
        placeholders.check("Env", entry.partition("=")[2], sample)
    for mount in spec.mounts:
        for field, text in placeholders.mount_texts(mount):
            placeholders.check(field, text, sample)


def _require_mounts(mounts: tuple[Mount, ...]) -> None:
    targets: set[str] = set()
    for mount in mounts:
        _require_mount(mount)
        target = mount.target.rstrip("/") or "/"
        if target in targets:
            raise InvalidArgumentError(f"ContainerSpec: duplicate mount point: {mount.target}")
        targets.add(target)


def _require_mount(mount: Mount) -> None:
    if mount.type in {MountType.NPIPE, MountType.CLUSTER}:
        raise UnsupportedError(
            f"mounts of type {mount.type.name.lower()} are not supported: use bind, volume, tmpfs or image ({mount.target})"
        )
    driver = mount.volume_driver
    if driver is not None and driver.name not in {"", "local"}:
        raise UnsupportedError(f"volume driver {driver.name} is not supported: use local ({mount.target})")


def _require_healthcheck(check: HealthConfig | None) -> None:
    if check is None:
        return
    if check.test and check.test[0] not in _HEALTH_KINDS:
        raise InvalidArgumentError(
            f"ContainerSpec: Unknown healthcheck type '{check.test[0]}' (expected 'NONE', 'CMD' or 'CMD-SHELL')"
        )
    if check.test and check.test[0] != "NONE" and len(check.test) == 1:
        raise InvalidArgumentError(f"ContainerSpec: the healthcheck's {check.test[0]} has no command")
    durations = {
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
    }
    for name, duration in durations.items():
        if duration and duration < _MIN_HEALTH_NS:
            raise InvalidArgumentError(f"ContainerSpec: {name} in HealthConfig cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidArgumentError("ContainerSpec: Retries in HealthConfig cannot be negative")


def _require_dns(config: DNSConfig | None) -> None:
    for address in config.nameservers if config else ():
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidArgumentError(f"ContainerSpec: the nameserver {address!r} is not an IP address") from None


def _resolved_secret(view: View, reference: SecretReference) -> SecretReference:
    secret = view.secrets.get(reference.secret_id) or view.secrets.by_name(reference.secret_id or reference.secret_name)
    if secret is None:
        raise InvalidArgumentError(f"secret not found: {reference.secret_name or reference.secret_id}")
    name = base_name(secret.spec.annotations.name)
    return SecretReference(secret_id=secret.id, secret_name=name, file=_file(reference.file, name))


def _resolved_config(view: View, reference: ConfigReference) -> ConfigReference:
    config = view.configs.get(reference.config_id) or view.configs.by_name(reference.config_id or reference.config_name)
    if config is None:
        raise InvalidArgumentError(f"config not found: {reference.config_name or reference.config_id}")
    name = base_name(config.spec.annotations.name)
    return ConfigReference(config_id=config.id, config_name=name, file=_file(reference.file, name))


def _file(file: FileTarget, default: str) -> FileTarget:
    name = file.name or default
    if name != "/" and ".." not in name.split("/") and not name.endswith("/"):
        return replace(file, name=name)
    raise InvalidArgumentError(f"invalid file target {name!r}: give a file name or an absolute path without ..")


def _require_distinct(kind: str, references: list[tuple[str, str]]) -> None:
    taken: dict[str, str] = {}
    for name, target in references:
        if target in taken:
            raise InvalidArgumentError(
                f"{kind} references '{taken[target]}' and '{name}' have a conflicting target: '{target}'"
            )
        taken[target] = name
