from pathlib import Path

import pytest

from covey.container_runtime import RuntimeProgram
from covey.default_bridge import DefaultBridge
from covey.engine_settings import Ulimit
from covey.errors import InvalidArgumentError
from covey.network_pools import AddressPool
from engine.listen_address import InheritedSockets, TcpAddress, UnixAddress
from node.options import DaemonOptions, parse
from node.reload import plan_reload


def options(*arguments: str, file: str = "") -> DaemonOptions:
    return parse(arguments, lambda path: (path or Path("/etc/covey/coveyd.toml"), file))


def refusal(*arguments: str, file: str = "") -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        options(*arguments, file=file)
    return caught.value.message


def test_the_socket_is_in_the_run_directory_by_default() -> None:
    assert options("--run-dir", "/run/x").listen_addresses == (UnixAddress(Path("/run/x/covey.sock")),)
    assert options("--host", "unix:///tmp/c.sock").listen_addresses == (UnixAddress(Path("/tmp/c.sock")),)


def test_labels_are_parsed_and_malformed_ones_are_refused() -> None:
    assert options("--label", "disk=ssd", "--label", "rack=a=b").engine.labels == {"disk": "ssd", "rack": "a=b"}
    assert options().engine.labels == {}
    for text in ("ssd", "=ssd"):
        assert f"--label {text}: a label is KEY=VALUE" in refusal("--label", text)
    assert "disk is given twice" in refusal("--label", "disk=ssd", "--label", "disk=hdd")


def test_tcp_needs_client_certificates_or_the_flag_that_allows_it_without() -> None:
    unix = ("-H", "unix:///tmp/c.sock")
    for extra in ((), ("--tls",)):
        assert "--insecure-tcp" in refusal(*unix, "-H", "tcp://0.0.0.0:2375", *extra)
    assert options(*unix, "-H", "tcp://", "--tlsverify").listen_addresses[1] == TcpAddress("localhost", 2376)
    assert options(*unix, "-H", "tcp://", "--insecure-tcp").listen_addresses[1] == TcpAddress("localhost", 2375)
    assert options(*unix, "-H", "tcp://[::1]:99", "--tlsverify").listen_addresses[1] == TcpAddress("::1", 99)
    assert options("-H", "fd://").listen_addresses == (InheritedSockets(),)
    assert options("-H", "fd://api.socket").listen_addresses == (InheritedSockets("api.socket"),)
    assert "names no unix:// socket" in refusal("-H", "tcp://:1", "--tlsverify")


@pytest.mark.parametrize(
    "host", ["tcp://a:0", "tcp://a:x", "tcp://::1:99", "tcp://[::g]:1", "tcp://a/b", "npipe://x", "unix://relative", ""]
)
def test_a_malformed_host_is_refused_by_its_text(host: str) -> None:
    assert f"--host {host}" in refusal("--host", host, "--tlsverify")


def test_the_configuration_file_sets_every_kind_of_option() -> None:
    file = """
        hosts = ["unix:///tmp/c.sock", "tcp://127.0.0.1:7000"]
        tlsverify = true
        labels = ["disk=ssd"]
        log-driver = "local"
        log-opts = {max-size = "10m"}
        default-shm-size = "128m"
        default-ulimits = {nofile = "1024:2048", core = {soft = 0, hard = -1}}
        dns = ["192.0.2.1"]
        join-port = 4000
        debug = true
    """
    found = options(file=file)
    assert found.join_port == 4000
    assert found.uses_tls
    assert found.logging_level == "DEBUG"
    assert found.engine.labels == {"disk": "ssd"}
    assert (found.engine.log_driver, found.engine.log_options) == ("local", {"max-size": "10m"})
    assert found.engine.default_shm_size_bytes == 128 << 20
    assert found.engine.default_ulimits == {"nofile": Ulimit(1024, 2048), "core": Ulimit(0, -1)}
    assert found.engine.dns == ("192.0.2.1",)


def test_the_file_is_strict_as_docker_is() -> None:
    prefix = "unable to configure the daemon with file /etc/covey/coveyd.toml: "
    assert (
        refusal(file="fancy = 1\nodd = 2")
        == f"{prefix}the following directives don't match any configuration option: fancy, odd"
    )
    assert (
        refusal("--label", "a=b", "--debug", file='labels = ["c=d"]\ndebug = false')
        == f"{prefix}the following directives are specified both as a flag and in the configuration file: "
        "labels: (from flag: [a=b], from file: [c=d]), debug: (from flag: true, from file: false)"
    )
    assert refusal(file="debug = ").startswith(prefix)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("debug = 'maybe'", "debug: 'maybe' is neither true nor false"),
        ("join-port = 70000", "join-port: 70000 is not a port"),
        ("join-port = true", "join-port: True is not a port"),
        ("labels = 'a=b'", "labels: 'a=b' is not a list"),
        ("labels = [1]", "labels: 1 is not a text"),
        ("dns = ['x']", "dns: x is not an ip address"),
        ("default-shm-size = '1q'", "default-shm-size: '1q' is not a size"),
        ("default-ulimits = {nofiles = '1'}", "invalid ulimit type: nofiles"),
        ("default-ulimits = {nofile = '2:1'}", "ulimit soft limit must be less than or equal to hard limit"),
        ("default-ulimits = {nofile = {softly = 1}}", "unknown key 'softly'"),
        ("log-level = 'loud'", "log-level: 'loud' is not valid"),
        ("log-driver = 'splunk'", "log-driver: 'splunk' is not valid"),
        ("log-opts = {fancy = '1'}", "unknown log opt 'fancy'"),
        ("hosts = 7", "hosts: 7 is not a list"),
        ("cgroup-parent = 'x'", "--cgroup-parent x: give an absolute path"),
        ("join-port = 5\nmtls-port = 5", "are both 5"),
        ("store-ca = '/x'", "need --store"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(file: str, reason: str) -> None:
    assert reason in refusal(file=file)


def test_a_named_file_must_exist_and_the_default_one_need_not(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no such file"):
        parse(["--config", str(tmp_path / "none.toml")])


def test_a_reload_changes_what_can_change_and_names_the_rest() -> None:
    now = options("--state-dir", "/s", file='log-level = "info"\nlabels = ["a=b"]')
    wanted = options("--state-dir", "/s", file='log-level = "debug"\nlabels = ["a=c"]\njoin-port = 99')
    plan = plan_reload(now, wanted)
    assert set(plan.changed) == {"log-level", "labels"}
    assert plan.kept == ("join-port",)
    assert (plan.options.log_level, plan.options.engine.labels) == ("debug", {"a": "c"})
    assert plan.options.join_port == 2377
    assert plan_reload(now, now).changed == ()


def test_runtimes_are_named_by_flags_or_tables() -> None:
    made = options("--add-runtime", "Crun=/usr/bin/crun", "--default-runtime", "crun").engine
    assert made.runtimes == {"crun": RuntimeProgram("/usr/bin/crun")}
    assert made.default_runtime == "crun"
    file = '[runtimes.other]\npath = "crun"\nruntimeArgs = ["--debug"]'
    assert options(file=file).engine.runtimes == {"other": RuntimeProgram("crun", ("--debug",))}
    assert plan_reload(options(), options(file=file)).changed == ("runtimes",)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ('default-runtime = "crun"', "specified default runtime 'crun' does not exist"),
        ('[runtimes.runc]\npath = "x"', "runtime name 'runc' is reserved"),
        ('[runtimes."io.containerd.runc.v2"]\npath = "x"', "is reserved"),
        ("[runtimes.a]", "runtime 'a' has no path"),
        ('[runtimes.a]\npath = "x"\nargs = []', "runtimes.a: unknown key 'args'"),
        ('[runtimes.a]\npath = "x"\n[runtimes.A]\npath = "y"', "runtime 'A' was already registered"),
        ('runtimes = {a = "x"}', "is not a table"),
    ],
)
def test_a_malformed_runtime_is_refused_by_name(file: str, words: str) -> None:
    assert words in refusal(file=file)


def test_address_pools_come_from_flags_or_from_tables_and_malformed_ones_are_refused() -> None:
    flags = ("--default-address-pool", "base=10.10.0.0/16,size=24", "--default-address-pool", "base=fd10::/56,size=64")
    assert options(*flags).engine.address_pools == (AddressPool("10.10.0.0/16", 24), AddressPool("fd10::/56", 64))
    file = '[[default-address-pools]]\nbase = "10.10.0.0/16"\nsize = 24\n'
    assert options(file=file).engine.address_pools == (AddressPool("10.10.0.0/16", 24),)
    for text, words in (
        ("base=10.10.0.0/16", "use base=CIDR,size=PREFIX"),
        ("base=x,size=24", "use base=CIDR,size=PREFIX"),
        ("base=10.10.0.0/16,size=8", "between 16 and 30"),
        ("base=10.10.0.0/16,size=24,more=1", "unknown field 'more'"),
    ):
        assert words in refusal("--default-address-pool", text)


def test_the_default_bridge_is_configured_by_dockers_keys() -> None:
    file = """
        bip = "10.9.0.1/16"
        fixed-cidr = "10.9.4.0/24"
        default-gateway = "10.9.0.1"
        ipv6 = true
        fixed-cidr-v6 = "fd00:9::/64"
        mtu = 1400
        icc = false
        ip-masq = false
        ip = "127.0.0.1"
        iptables = true
        userland-proxy = false
        ip-forward = true
    """
    assert options(file=file).engine.default_bridge == DefaultBridge(
        bip="10.9.0.1/16",
        fixed_cidr="10.9.4.0/24",
        gateway="10.9.0.1",
        ipv6=True,
        fixed_cidr6="fd00:9::/64",
        mtu=1400,
        icc=False,
        masquerade=False,
        binding="127.0.0.1",
    )
    assert options("--bip", "10.9.0.1/16", "--icc=false", "--mtu", "1400").engine.bip == "10.9.0.1/16"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("bip", '"10.9.0.1"', "is not an IPv4 address with a prefix"),
        ("bip", '"10.9.0.0/16"', "give the bridge's address, such as 10.9.0.1/16"),
        ("bip", '"nonsense"', "invalid CIDR address"),
        ("bip6", '"fd00::1/64"', "bip6 needs ipv6"),
        ("fixed-cidr", '"fd00::/64"', "is not an IPv4 network"),
        ("fixed-cidr-v6", '"fd00::/64"', "fixed-cidr-v6 needs ipv6"),
        ("default-gateway", '"10.9.0.1"', "needs bip"),
        ("mtu", "20", "invalid MTU number: 20"),
        ("ip", '"here"', "is not an ip address"),
        ("icc", '"perhaps"', "neither true nor false"),
        ("bridge", '"none"', "docker run --network none"),
        ("bridge", '"br0"', "com.docker.network.bridge.name=NAME"),
        ("iptables", "false", "nftables tables of its own"),
        ("ip6tables", "false", "nftables tables of its own"),
        ("firewall-backend", '"iptables"', "nftables tables of its own"),
        ("ip-forward", "false", "containers need forwarding"),
        ("userland-proxy", "true", "published ports need no proxy"),
        (
            "default-network-opts",
            '{ bridge = { "com.docker.network.driver.mtu" = "1400" } }',
            "docker network create -o",
        ),
        ("host-gateway-ips", '["192.0.2.1"]', "--add-host"),
        ("allow-direct-routing", "true", "nat-unprotected"),
    ],
)
def test_a_network_option_that_cannot_be_followed_is_refused_by_key_and_file(key: str, value: str, words: str) -> None:
    message = refusal(file=f"{key} = {value}")
    assert message.startswith("unable to configure the daemon with file /etc/covey/coveyd.toml: ")
    assert key in message
    assert words in message


def test_ranges_and_gateways_must_fit_the_address_of_the_bridge() -> None:
    bip = ("--bip", "10.9.0.1/16")
    assert "fixed-cidr: 10.8.0.0/24 is not within 10.9.0.0/16" in refusal(*bip, "--fixed-cidr", "10.8.0.0/24")
    assert "default-gateway: 10.9.0.2 is not supported" in refusal(*bip, "--default-gateway", "10.9.0.2")
    assert "too small for ipv6" in refusal("--ipv6", "--mtu", "1000")
    assert "--iptables: 'false' is not supported" in refusal("--iptables=false")
