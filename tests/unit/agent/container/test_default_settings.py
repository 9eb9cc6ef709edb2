from agent.container.default_settings import with_daemon_defaults
from agent.container.model import ContainerConfig, ContainerUlimit, LogConfig
from covey.container_runtime import RuntimeProgram
from covey.engine_settings import EngineSettings, Ulimit

PLAIN = ContainerConfig(id="1", name="a", image="i", image_id="i", args=("true",))


def test_a_container_that_says_nothing_gets_the_daemons_defaults() -> None:
    settings = EngineSettings(
        log_driver="local", log_options={"max-size": "1m"}, default_ulimits={"nofile": Ulimit(1, 2)}, dns=("192.0.2.1",),
        default_shm_size_bytes=5, default_ipc_mode="shareable", no_new_privileges=True,
    )  # fmt: skip
    found = with_daemon_defaults(PLAIN, settings)
    assert found.log == LogConfig(driver="local", options={"max-size": "1m"})
    assert found.ulimits == (ContainerUlimit(name="nofile", soft=1, hard=2),)
    assert (found.dns, found.shm_size_bytes, found.ipc_mode, found.no_new_privileges) == (
        ("192.0.2.1",), 5, "shareable", True,
    )  # fmt: skip
    assert with_daemon_defaults(PLAIN, EngineSettings()).log.driver == "json-file"


def test_what_a_container_says_stays() -> None:
    own = ContainerConfig(
        id="1", name="a", image="i", image_id="i", args=("true",), log=LogConfig(driver="json-file"),
        ulimits=(ContainerUlimit(name="nofile", soft=7, hard=7),), dns=("192.0.2.9",), shm_size_bytes=64 << 20, ipc_mode="private", runtime="runc",
    )  # fmt: skip
    settings = EngineSettings(
        log_driver="local", log_options={"max-size": "1m"}, default_ulimits={"nofile": Ulimit(1, 2)}, dns=("192.0.2.1",),
        default_shm_size_bytes=5, default_ipc_mode="shareable", runtimes={"crun": RuntimeProgram("crun")}, default_runtime="crun",
    )  # fmt: skip
    assert with_daemon_defaults(own, settings) == own
