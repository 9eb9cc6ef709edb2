"""Messages between the daemon and the worker process for container files."""

import subprocess
import sys

import msgspec

from agent.filesystem.protocol import (
    FileChange,
    FileMessage,
    FileRequest,
    PathStat,
    StoppedView,
    ViewMount,
    WrittenLayer,
    decode_request,
    encode,
)
from agent.image.content.staged import StagedLayer


def test_a_request_arrives_as_it_was_sent() -> None:
    view = StoppedView("/f", ("/a", "/b"), "/all", mounts=(ViewMount("/src", "/dst", True, "sub"),))
    for request in (
        FileRequest("stat", "web", path="/ä\n", root_fd=7),
        FileRequest("write", "web", stopped=view, keep_kinds=True, owner="1:2"),
        FileRequest("layer", "web", layers=("/l",), staging="/s", chain_id="c", known_layers=("x", "y")),
    ):
        assert decode_request(encode(request)) == request


def test_the_daemon_reads_the_answers_of_the_worker() -> None:
    for message in (
        FileMessage(done=True),
        FileMessage(error="no", error_kind="NotFoundError"),
        FileMessage(stat=PathStat("a", 1, 2, 3, "/l"), changes=(FileChange("/x", 1),)),
        FileMessage(layer=WrittenLayer("d", "e", "f", 5, "/u")),
    ):
        assert msgspec.json.decode(encode(message), type=FileMessage) == message


def test_a_layer_has_the_fields_of_a_staged_layer() -> None:
    assert WrittenLayer._fields == StagedLayer.__struct_fields__


def test_the_start_of_the_worker_imports_no_package_outside_the_standard_library() -> None:
    code = "import sys, agent.filesystem.worker; print('msgspec' in sys.modules, 'tarfile' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
