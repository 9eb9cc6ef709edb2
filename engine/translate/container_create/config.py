"""`Config` of a new container: command, environment, user, labels, health check, and what the image gives of them.

Invariant: what the user left open comes from the image, by the rules of ``agent.container.image_defaults``.
"""

from typing import Any

import msgspec

from agent.container import image_defaults
from agent.container.model import HealthCheck
from agent.image.model import ImageConfig
from covey.clock import MILLISECOND, SECOND
from covey.errors import InvalidArgumentError
from engine.translate.json_fields import JsonFields


class UserConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`Config` as the user gave it. ``entrypoint`` and ``command`` are None where absent."""

    image: str = ""
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    healthcheck: HealthCheck | None = None
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    network_disabled: bool = False
    mac_address: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""
    stop_timeout_seconds: int | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()


def read_config(fields: JsonFields) -> UserConfig:
    """Read and check the keys of `Config`, which stand at the top of the body."""
    config = UserConfig(
        image=fields.text("Image"),
        hostname=fields.text("Hostname"),
        domainname=fields.text("Domainname"),
        user=fields.text("User"),
        attach_stdin=fields.flag("AttachStdin"),
        attach_stdout=fields.flag("AttachStdout"),
        attach_stderr=fields.flag("AttachStderr"),
        tty=fields.flag("Tty"),
        open_stdin=fields.flag("OpenStdin"),
        stdin_once=fields.flag("StdinOnce"),
        env=fields.text_list("Env"),
        command=_words(fields, "Cmd"),
        entrypoint=_words(fields, "Entrypoint"),
        healthcheck=fields.read("Healthcheck", _healthcheck),
        exposed_ports=_keys(fields, "ExposedPorts"),
        volumes=_keys(fields, "Volumes"),
        working_dir=fields.text("WorkingDir"),
        network_disabled=fields.flag("NetworkDisabled"),
        mac_address=fields.text("MacAddress"),
        labels=fields.text_map("Labels"),
        stop_signal=fields.text("StopSignal"),
        stop_timeout_seconds=fields.number("StopTimeout") if fields.has("StopTimeout") else None,
        shell=fields.text_list("Shell"),
        on_build=fields.text_list("OnBuild"),
    )
    fields.flag("ArgsEscaped")  # of images of Windows; clients send it back
    _check(config)
    return config


def merged(config: UserConfig, image: ImageConfig, *, hostname: str) -> dict[str, Any]:
    """The fields of the container's configuration. ``hostname`` is the name it gets if it has none of its own."""
    entrypoint, command = image_defaults.command_line(config.entrypoint, config.command, image)
    args = (*(entrypoint or ()), *(command or ()))
    if not args:
        raise InvalidArgumentError("no command specified")
    return {
        "args": args,
        "entrypoint": entrypoint,
        "command": command,
        "env": image_defaults.environment(config.env, image.env),
        "working_dir": config.working_dir or image.working_dir,
        "user": config.user or image.user,
        "hostname": config.hostname or hostname,
        "domainname": config.domainname,
        "labels": {**image.labels, **config.labels},
        "tty": config.tty,
        "open_stdin": config.open_stdin,
        "stdin_once": config.stdin_once,
        "attach_stdin": config.attach_stdin,
        "attach_stdout": config.attach_stdout,
        "attach_stderr": config.attach_stderr,
        "stop_signal": config.stop_signal or image.stop_signal,
        "stop_grace_seconds": None if config.stop_timeout_seconds is None else float(config.stop_timeout_seconds),
        "healthcheck": image_defaults.healthcheck(config.healthcheck, image.healthcheck),
        "exposed_ports": tuple(sorted({*config.exposed_ports, *image.exposed_ports})),
        "volume_paths": tuple(sorted({*config.volumes, *image.volumes})),
        "network_disabled": config.network_disabled,
        "shell": config.shell or image.shell,
        "on_build": config.on_build,
    }


def _check(config: UserConfig) -> None:
    for entry in config.env:
        if not entry.partition("=")[0]:
            raise InvalidArgumentError(f"invalid environment variable: {entry}")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgumentError(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )


def _words(fields: JsonFields, name: str) -> tuple[str, ...] | None:
    """A list of strings, or one string for a list of one. None where absent."""
    value = fields.raw(name)
    if value is None:
        return None
    return (value,) if isinstance(value, str) else fields.text_list(name)


def _keys(fields: JsonFields, name: str) -> tuple[str, ...]:
    """The keys of a set, which Go writes as a map to empty objects."""
    child = fields.child(name)
    if child is None:
        return ()
    for key in child.names():
        child.read(key, lambda _: None)
    return tuple(sorted(child.names()))


def _healthcheck(fields: JsonFields) -> HealthCheck:
    durations = {}
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = fields.number(name)
        if value and value < MILLISECOND:
            raise InvalidArgumentError(f"{name} in Healthcheck cannot be less than 1ms")
        durations[name] = value / SECOND
    retries = fields.number("Retries")
    if retries < 0:
        raise InvalidArgumentError("Retries in Healthcheck cannot be negative")
    return HealthCheck(
        test=fields.text_list("Test"),
        interval_seconds=durations["Interval"],
        timeout_seconds=durations["Timeout"],
        start_period_seconds=durations["StartPeriod"],
        start_interval_seconds=durations["StartInterval"],
        retries=retries,
    )
