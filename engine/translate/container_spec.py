"""Docker's ContainerSpec and ours, both ways. Whoever adds a field here adds it in both directions; a property test holds that."""

from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import (
    ConfigReference,
    ContainerSpec,
    DNSConfig,
    Driver,
    FileTarget,
    HealthConfig,
    Mount,
    SecretReference,
    Ulimit,
)
from covey.states import MountType
from engine.translate import enum_names
from engine.translate.enum_names import enum_name
from engine.translate.json_fields import JsonFields, omit_empty


def read(fields: JsonFields) -> ContainerSpec:
    image = fields.text("Image")
    if not image:
        raise InvalidArgumentError(f"ContainerSpec: image reference must be provided ({fields.path_of('Image')})")
    fields.constant("Isolation", "default")
    return ContainerSpec(
        image=image,
        labels=fields.text_map("Labels"),
        command=fields.text_list("Command"),
        args=fields.text_list("Args"),
        hostname=fields.text("Hostname"),
        env=fields.text_list("Env"),
        dir=fields.text("Dir"),
        user=fields.text("User"),
        groups=fields.text_list("Groups"),
        tty=fields.flag("TTY"),
        open_stdin=fields.flag("OpenStdin"),
        read_only=fields.flag("ReadOnly"),
        init=fields.optional_flag("Init"),
        stop_signal=fields.text("StopSignal"),
        stop_grace_ns=fields.count("StopGracePeriod") if fields.has("StopGracePeriod") else None,
        mounts=fields.read_all("Mounts", read_mount),
        secrets=fields.read_all("Secrets", _read_secret),
        configs=fields.read_all("Configs", _read_config),
        hosts=fields.text_list("Hosts"),
        dns=fields.read("DNSConfig", _read_dns),
        healthcheck=fields.read("Healthcheck", read_health),
        capability_add=fields.text_list("CapabilityAdd"),
        capability_drop=fields.text_list("CapabilityDrop"),
        sysctls=fields.text_map("Sysctls"),
        ulimits=fields.read_all("Ulimits", _read_ulimit),
        no_new_privileges=bool(fields.read("Privileges", _read_privileges)),
        oom_score_adj=fields.number("OomScoreAdj"),
    )


def write(spec: ContainerSpec) -> dict[str, Any]:
    result = omit_empty(
        Image=spec.image,
        Labels=spec.labels or None,
        Command=list(spec.command),
        Args=list(spec.args),
        Hostname=spec.hostname,
        Env=list(spec.env),
        Dir=spec.dir,
        User=spec.user,
        Groups=list(spec.groups),
        Privileges={"NoNewPrivileges": True, "CredentialSpec": None, "SELinuxContext": None}
        if spec.no_new_privileges
        else None,
        TTY=spec.tty,
        OpenStdin=spec.open_stdin,
        ReadOnly=spec.read_only,
        StopSignal=spec.stop_signal,
        Mounts=[write_mount(mount) for mount in spec.mounts],
        Secrets=[_write_secret(item) for item in spec.secrets],
        Configs=[_write_config(item) for item in spec.configs],
        Hosts=list(spec.hosts),
        DNSConfig=None if spec.dns is None else _write_dns(spec.dns),
        Healthcheck=None if spec.healthcheck is None else write_health(spec.healthcheck),
        CapabilityAdd=list(spec.capability_add),
        CapabilityDrop=list(spec.capability_drop),
        Sysctls=spec.sysctls or None,
        Ulimits=[{"Name": item.name, "Soft": item.soft, "Hard": item.hard} for item in spec.ulimits],
        OomScoreAdj=spec.oom_score_adj,
    )
    if spec.init is not None:
        result["Init"] = spec.init
    if spec.stop_grace_ns is not None:
        result["StopGracePeriod"] = spec.stop_grace_ns
    result["Isolation"] = "default"
    return result


def read_driver(fields: JsonFields) -> Driver:
    return Driver(name=fields.text("Name"), options=fields.text_map("Options"))


def write_driver(driver: Driver) -> dict[str, Any]:
    return omit_empty(Name=driver.name, Options=driver.options or None)


def read_health(fields: JsonFields) -> HealthConfig:
    return HealthConfig(
        test=fields.text_list("Test"),
        interval_ns=fields.count("Interval"),
        timeout_ns=fields.count("Timeout"),
        start_period_ns=fields.count("StartPeriod"),
        start_interval_ns=fields.count("StartInterval"),
        retries=fields.count("Retries"),
    )


def write_health(health: HealthConfig) -> dict[str, Any]:
    return omit_empty(
        Test=list(health.test),
        Interval=health.interval_ns,
        Timeout=health.timeout_ns,
        StartPeriod=health.start_period_ns,
        StartInterval=health.start_interval_ns,
        Retries=health.retries,
    )


def read_mount(fields: JsonFields) -> Mount:
    if not fields.text("Type"):
        raise InvalidArgumentError(f"{fields.path_of('Type')} is missing; use bind, volume or tmpfs")
    kind = fields.choice("Type", enum_names.MOUNT_TYPES, MountType.BIND)
    target = fields.text("Target")
    if not target:
        raise InvalidArgumentError(f"{fields.path_of('Target')} must not be empty")
    fields.constant("Consistency", "default", "consistent")
    volume = fields.read("VolumeOptions", _read_volume_options) or (None, {}, False)
    tmpfs = fields.read("TmpfsOptions", _read_tmpfs_options) or (0, 0, ())
    return Mount(
        type=kind,
        source=fields.text("Source"),
        target=target,
        read_only=fields.flag("ReadOnly"),
        propagation=fields.read("BindOptions", lambda options: options.text("Propagation")) or "",
        volume_driver=volume[0],
        volume_labels=volume[1],
        volume_no_copy=volume[2],
        tmpfs_size_bytes=tmpfs[0],
        tmpfs_mode=tmpfs[1],
        tmpfs_options=tmpfs[2],
    )


def write_mount(mount: Mount) -> dict[str, Any]:
    volume = omit_empty(
        NoCopy=mount.volume_no_copy,
        Labels=mount.volume_labels or None,
        DriverConfig=None if mount.volume_driver is None else write_driver(mount.volume_driver),
    )
    tmpfs = omit_empty(
        SizeBytes=mount.tmpfs_size_bytes,
        Mode=mount.tmpfs_mode,
        Options=[option.split("=", 1) for option in mount.tmpfs_options],
    )
    return omit_empty(
        Type=enum_name(mount.type),
        Source=mount.source,
        Target=mount.target,
        ReadOnly=mount.read_only,
        BindOptions={"Propagation": mount.propagation} if mount.propagation else None,
        VolumeOptions=volume or None,
        TmpfsOptions=tmpfs or None,
    )


def _read_volume_options(fields: JsonFields) -> tuple[Driver | None, dict[str, str], bool]:
    return fields.read("DriverConfig", read_driver), fields.text_map("Labels"), fields.flag("NoCopy")


def _read_tmpfs_options(fields: JsonFields) -> tuple[int, int, tuple[str, ...]]:
    options = fields.raw("Options") or []
    if not isinstance(options, list) or not all(
        isinstance(option, list) and 1 <= len(option) <= 2 and all(isinstance(part, str) for part in option)
        for option in options
    ):
        raise InvalidArgumentError(f"{fields.path_of('Options')} must be a list of one or two strings each")
    return fields.count("SizeBytes"), fields.count("Mode"), tuple("=".join(option) for option in options)


def _read_file(fields: JsonFields) -> FileTarget:
    return FileTarget(
        name=fields.text("Name"),
        uid=fields.text("UID") or "0",
        gid=fields.text("GID") or "0",
        mode=fields.count("Mode", 0o444),
    )


def _write_file(file: FileTarget) -> dict[str, Any]:
    return {"Name": file.name, "UID": file.uid, "GID": file.gid, "Mode": file.mode}


def _read_secret(fields: JsonFields) -> SecretReference:
    return SecretReference(
        secret_id=fields.text("SecretID"),
        secret_name=fields.text("SecretName"),
        file=fields.read("File", _read_file) or FileTarget(name=fields.text("SecretName")),
    )


def _write_secret(item: SecretReference) -> dict[str, Any]:
    return {"File": _write_file(item.file), "SecretID": item.secret_id, "SecretName": item.secret_name}


def _read_config(fields: JsonFields) -> ConfigReference:
    return ConfigReference(
        config_id=fields.text("ConfigID"),
        config_name=fields.text("ConfigName"),
        file=fields.read("File", _read_file) or FileTarget(name=fields.text("ConfigName")),
    )


def _write_config(item: ConfigReference) -> dict[str, Any]:
    return {"File": _write_file(item.file), "ConfigID": item.config_id, "ConfigName": item.config_name}


def _read_dns(fields: JsonFields) -> DNSConfig:
    return DNSConfig(
        nameservers=fields.text_list("Nameservers"),
        search=fields.text_list("Search"),
        options=fields.text_list("Options"),
    )


def _write_dns(dns: DNSConfig) -> dict[str, Any]:
    return omit_empty(Nameservers=list(dns.nameservers), Search=list(dns.search), Options=list(dns.options))


def _read_ulimit(fields: JsonFields) -> Ulimit:
    return Ulimit(name=fields.text("Name"), soft=fields.number("Soft"), hard=fields.number("Hard"))


def _read_privileges(fields: JsonFields) -> bool:
    """``CredentialSpec`` and ``SELinuxContext`` are refused by the walk; the default profiles are what containers get anyway."""
    for name in ("Seccomp", "AppArmor"):
        fields.read(name, lambda profile: profile.constant("Mode", "default"))
    return fields.flag("NoNewPrivileges")
