"""The body of ``POST /containers/create`` and of ``POST /containers/ID/update``, from flags. Pure.

Files that flags name are read before, by ``cli.container.files``. A contradiction of flags is refused here; whether the host has what a
flag asks for is the daemon's to say.
"""

from collections.abc import Mapping, Sequence
from posixpath import isabs, normpath
from posixpath import join as join_path
from typing import Any, NamedTuple

from cli.parse import container_networks, container_ports
from cli.parse import container_values as values
from cli.parse.container_flags import FLAGS, HOST, UPDATE
from covey.errors import InvalidArgumentError

Body = dict[str, Any]
Flags = Mapping[str, Any]
DOCKER_SOCKET = "/var/run/docker.sock"
_NAMESPACES = {
    "pid": (("", "host"), "PID"),
    "uts": (("", "host"), "UTS"),
    "userns": (("", "host"), "USER"),
    "cgroupns": (("", "host", "private"), "CGROUP"),
}
SYSTEM_PATHS = "systempaths=unconfined"


class Surroundings(NamedTuple):
    """What the flags refer to outside of the command line. ``environment`` and ``labels`` come from files, ``profiles`` maps the names
    of seccomp files to their content.
    """

    directory: str = "/"
    environment: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    profiles: Mapping[str, str] = {}
    api_socket: str = ""
    terminal_size: tuple[int, int] = (0, 0)


def create_body(image: str, command: Sequence[str], flags: Flags, around: Surroundings) -> Body:
    """The body of a new container.

    Raises:
        InvalidArgumentError: flags that contradict one another.
    """
    _check(flags)
    body: Body = {"Image": image, "HostConfig": {"NetworkMode": container_networks.network_mode(flags["network"])}}
    for flag in FLAGS:
        value = flags.get(flag.key)
        if flag.path and flag.commands != (UPDATE,) and value not in (None, ()):
            _put(body, flag.path, flag.to_body(value))
    if command:
        body["Cmd"] = list(command)
    host = body["HostConfig"]
    host.setdefault("RestartPolicy", {"Name": "no", "MaximumRetryCount": 0})
    host.setdefault("MemorySwappiness", -1)
    host["ConsoleSize"] = list(around.terminal_size)
    body["Env"] = _environment(around.environment, flags["env"])
    body["Labels"] = {**around.labels, **dict(flags["label"])}
    _attach(body, flags)
    _health(body, flags)
    _devices(host, flags)
    _ports(body, flags)
    _storage(body, flags, around)
    _security(host, flags, around)
    body["NetworkingConfig"] = {"EndpointsConfig": container_networks.endpoints(flags)}
    return body


def update_body(flags: Flags) -> Body:
    """The body of an update. Only what was given is in it.

    Raises:
        InvalidArgumentError: nothing was given.
    """
    body: Body = {}
    for flag in FLAGS:
        value = flags.get(flag.key)
        if UPDATE in flag.commands and value is not None:
            _put(body, flag.path[len(HOST) :], flag.to_body(value))
    if not body:
        raise InvalidArgumentError("you must provide one or more flags when using this command")
    return body


def _put(body: Body, path: Sequence[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        body = body.setdefault(name, {})
    body[last] = value


def _check(flags: Flags) -> None:
    for name, (allowed, word) in _NAMESPACES.items():
        mode = flags.get(name) or ""
        container = name == "pid" and mode.startswith("container:") and mode != "container:"
        if mode not in allowed and not container:
            raise InvalidArgumentError(f"--{name}: invalid {word} mode")
    policy = (flags.get("restart") or {}).get("Name", "no")
    if flags.get("rm") and policy not in ("no", ""):
        raise InvalidArgumentError("conflicting options: cannot specify both --restart and --rm")
    if flags.get("detach") and flags.get("attach"):
        raise InvalidArgumentError("conflicting options: cannot specify both --attach and --detach")
    if flags.get("log_driver") == "none" and flags.get("log_opt"):
        raise InvalidArgumentError("invalid logging opts for driver none")
    if flags.get("disable_content_trust") is False:
        raise InvalidArgumentError("--disable-content-trust=false: images are not signed")


def _environment(files: Sequence[str], given: Sequence[str]) -> list[str]:
    """Variables in the order of their first mention without those that a later one replaces."""
    last: dict[str, str] = {}
    result = [*files]
    for item in given:
        last[item.partition("=")[0]] = item
    return [*result, *last.values()]


def _attach(body: Body, flags: Flags) -> None:
    interactive, tty = bool(flags.get("interactive")), bool(flags.get("tty"))
    streams = set(flags["attach"])
    if flags.get("detach"):
        streams = set()
    elif not streams:
        streams = {"stdout", "stderr"} | ({"stdin"} if interactive else set())
    elif interactive:
        streams.add("stdin")
    body |= {
        "AttachStdin": "stdin" in streams,
        "AttachStdout": "stdout" in streams,
        "AttachStderr": "stderr" in streams,
        "OpenStdin": interactive,
        "StdinOnce": interactive and "stdin" in streams,
        "Tty": tty,
    }


def _health(body: Body, flags: Flags) -> None:
    check = body.get("Healthcheck") or {}
    if flags.get("health_cmd"):
        check["Test"] = ["CMD-SHELL", flags["health_cmd"]]
    if flags.get("no_healthcheck"):
        if check:
            raise InvalidArgumentError("--no-healthcheck conflicts with --health-* options")
        check = {"Test": ["NONE"]}
    if check:
        body["Healthcheck"] = check


def _devices(host: Body, flags: Flags) -> None:
    devices, requests, cdi = [], list(flags["gpus"]), []
    for text in flags["device"]:
        if values.is_cdi_device(text):
            cdi.append(text)
        else:
            devices.append(values.device(text))
    if cdi:
        requests.append({"Driver": "cdi", "DeviceIDs": cdi})
    if devices:
        host["Devices"] = devices
    if requests:
        host["DeviceRequests"] = requests


def _ports(body: Body, flags: Flags) -> None:
    bindings = container_ports.merge(list(flags["publish"]))
    exposed = [port for ports in flags["expose"] for port in ports]
    body["ExposedPorts"] = {port: {} for port in (*bindings, *exposed)}
    body["HostConfig"]["PortBindings"] = bindings


def _storage(body: Body, flags: Flags, around: Surroundings) -> None:
    host = body["HostConfig"]
    mounts = [_absolute_mount(mount, around.directory) for mount in flags["mount"]]
    if flags.get("use_api_socket"):
        if not around.api_socket:
            raise InvalidArgumentError("--use-api-socket needs a daemon on a Unix socket")
        mounts.append({"Type": "bind", "Source": around.api_socket, "Target": DOCKER_SOCKET, "BindOptions": {}})
    if mounts:
        host["Mounts"] = mounts
    host["Tmpfs"] = dict(text.partition(":")[::2] for text in flags["tmpfs"])
    binds: list[str] = []
    anonymous: Body = {}
    for text in flags["volume"]:
        if ":" in text:
            binds.append(bind(text, around.directory))
        else:
            anonymous[text] = {}
    host["Binds"] = binds
    body["Volumes"] = anonymous


def bind(text: str, directory: str) -> str:
    """``SOURCE:TARGET[:OPTIONS]`` with an absolute source where it is a path that starts with a dot.

    Raises:
        InvalidArgumentError: a part is empty.
    """
    parts = text.split(":")
    if "" in parts:
        raise InvalidArgumentError(f"invalid spec: {text}: empty section between colons")
    return ":".join((_absolute(parts[0], directory), *parts[1:]))


def _absolute_mount(mount: Body, directory: str) -> Body:
    if mount["Type"] != "bind" or not mount.get("Source"):
        return mount
    return {**mount, "Source": _absolute(mount["Source"], directory)}


def _absolute(path: str, directory: str) -> str:
    return normpath(join_path(directory, path)) if path.startswith(".") and not isabs(path) else path


def _security(host: Body, flags: Flags, around: Surroundings) -> None:
    options = []
    for text in flags["security_opt"]:
        name, separator, value = text.partition("=")
        if not separator and ":" in text:
            name, _, value = text.partition(":")
        elif not separator and text != "no-new-privileges":
            raise InvalidArgumentError(f'Invalid --security-opt: "{text}"')
        if name == "seccomp" and value in around.profiles:
            options.append(f"seccomp={around.profiles[value]}")
        elif f"{name}={value}" == SYSTEM_PATHS:
            host |= {"MaskedPaths": [], "ReadonlyPaths": []}
        else:
            options.append(text)
    if options:
        host["SecurityOpt"] = options
