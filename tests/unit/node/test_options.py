from pathlib import Path

import pytest

from covey.errors import InvalidArgumentError
from node.options import parse


def test_the_socket_is_in_the_run_directory_by_default() -> None:
    assert parse(["--run-dir", "/run/x"]).socket == Path("/run/x/covey.sock")
    assert parse(["--host", "unix:///tmp/c.sock"]).socket == Path("/tmp/c.sock")


def test_labels_are_parsed_and_malformed_ones_are_refused() -> None:
    assert parse(["--label", "disk=ssd", "--label", "rack=a=b"]).labels == {"disk": "ssd", "rack": "a=b"}
    assert parse([]).labels == {}
    for text in ("ssd", "=ssd"):
        with pytest.raises(InvalidArgumentError, match=f"--label {text}: a label is KEY=VALUE"):
            parse(["--label", text])
    with pytest.raises(InvalidArgumentError, match="disk is given twice"):
        parse(["--label", "disk=ssd", "--label", "disk=hdd"])


def test_a_tcp_socket_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="tcp://0.0.0.0:2375"):
        parse(["--host", "tcp://0.0.0.0:2375"])
