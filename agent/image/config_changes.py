"""Dockerfile instructions that change an image config, as `docker import --change` takes them. Pure.

Instructions that would run or copy something (RUN, COPY, FROM) are refused by name.
"""

import shlex
from collections.abc import Callable, Sequence

import msgspec

from agent.image.model import ImageConfig, ImageHealthcheck
from covey.errors import InvalidArgumentError

_replace = msgspec.structs.replace
_SHELL = ("/bin/sh", "-c")
_DURATIONS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}


def apply_changes(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """Apply the instructions in order. Raises InvalidArgumentError that names the instruction."""
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(word.upper())
        if not word:
            continue
        if instruction is None:
            known = ", ".join(sorted(_INSTRUCTIONS))
            raise InvalidArgumentError(f'"{word}" is not a valid change command; valid are {known}')
        if not rest.strip():
            raise InvalidArgumentError(f'the change "{change}" needs an argument')
        try:
            config = instruction(config, rest.strip())
        except ValueError as error:
            raise InvalidArgumentError(f'the change "{change}" is malformed: {error}') from None
    return config


def _command(config: ImageConfig, rest: str) -> tuple[str, ...]:
    if rest.startswith("["):
        try:
            return msgspec.json.decode(rest, type=tuple[str, ...])
        except msgspec.MsgspecError:
            pass  # as in a Dockerfile, anything but a JSON array of strings is a shell command
    return (config.shell or _SHELL) + (rest,)


def _cmd(config: ImageConfig, rest: str) -> ImageConfig:
    return _replace(config, cmd=_command(config, rest))


def _entrypoint(config: ImageConfig, rest: str) -> ImageConfig:
    return _replace(config, entrypoint=_command(config, rest))


def _pairs(rest: str) -> list[tuple[str, str]]:
    """Parse `K=V K2="V 2"`, or the old form `K V`."""
    first = rest.split(None, 1)
    if "=" not in first[0]:
        if len(first) < 2:
            raise ValueError("a key needs a value: KEY=VALUE")
        return [(first[0], first[1])]
    pairs = [word.partition("=") for word in shlex.split(rest)]
    if any(not key or not equals for key, equals, _ in pairs):
        raise ValueError("every word must be KEY=VALUE")
    return [(key, value) for key, _, value in pairs]


def _env(config: ImageConfig, rest: str) -> ImageConfig:
    values = dict(entry.partition("=")[::2] for entry in config.env)
    values.update(_pairs(rest))
    return _replace(config, env=tuple(f"{key}={value}" for key, value in values.items()))


def _label(config: ImageConfig, rest: str) -> ImageConfig:
    return _replace(config, labels={**config.labels, **dict(_pairs(rest))})


def _expose(config: ImageConfig, rest: str) -> ImageConfig:
    ports = set(config.exposed_ports)
    for word in rest.split():
        span, _, protocol = word.partition("/")
        low, _, high = span.partition("-")
        if (protocol or "tcp") not in {"tcp", "udp", "sctp"}:
            raise ValueError(f'"{protocol}" is not tcp, udp or sctp')
        if not 0 < int(low) <= int(high or low) < 65536:
            raise ValueError(f'"{span}" is not a port between 1 and 65535')
        ports.update(f"{port}/{protocol or 'tcp'}" for port in range(int(low), int(high or low) + 1))
    return _replace(config, exposed_ports=tuple(sorted(ports)))


def _user(config: ImageConfig, rest: str) -> ImageConfig:
    return _replace(config, user=rest)


def _working_dir(config: ImageConfig, rest: str) -> ImageConfig:
    base = config.working_dir.rstrip("/")
    return _replace(config, working_dir=rest if rest.startswith("/") else f"{base}/{rest}")


def _volume(config: ImageConfig, rest: str) -> ImageConfig:
    paths = msgspec.json.decode(rest, type=list[str]) if rest.startswith("[") else rest.split()
    return _replace(config, volumes=tuple(sorted({*config.volumes, *paths})))


def _stop_signal(config: ImageConfig, rest: str) -> ImageConfig:
    return _replace(config, stop_signal=rest)


def _shell(config: ImageConfig, rest: str) -> ImageConfig:
    return _replace(config, shell=msgspec.json.decode(rest, type=tuple[str, ...]))


def _on_build(config: ImageConfig, rest: str) -> ImageConfig:
    return _replace(config, on_build=(*config.on_build, rest))


def _healthcheck(config: ImageConfig, rest: str) -> ImageConfig:
    if rest.upper() == "NONE":
        return _replace(config, healthcheck=ImageHealthcheck(test=("NONE",)))
    probe = ImageHealthcheck()
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, _, value = option.removeprefix("--").partition("=")
        field = name.replace("-", "_")
        if field == "retries":
            probe = _replace(probe, retries=int(value))
        elif field in {"interval", "timeout", "start_period", "start_interval"}:
            probe = _replace(probe, **{field: _duration_ns(value)})
        else:
            raise ValueError(f'"--{name}" is not an option of HEALTHCHECK')
        rest = rest.strip()
    word, _, command = rest.partition(" ")
    if word.upper() != "CMD" or not command.strip():
        raise ValueError("it needs NONE or CMD and a command")
    line = command.strip()
    if line.startswith("["):
        return _replace(
            config, healthcheck=_replace(probe, test=("CMD", *msgspec.json.decode(line, type=tuple[str, ...])))
        )
    return _replace(config, healthcheck=_replace(probe, test=("CMD-SHELL", line)))


def _duration_ns(text: str) -> int:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    if unit not in _DURATIONS:
        raise ValueError(f'"{text}" is not a duration such as 30s or 1m')
    return int(float(number) * _DURATIONS[unit])


_INSTRUCTIONS: dict[str, Callable[[ImageConfig, str], ImageConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _working_dir,
}
