import os
import ssl
import subprocess
import sys

import pytest

from node.lean_process import CodeMapping, code_mappings, is_after_burst

MAPS = """55d0a0000000-55d0a0001000 r-xp 00000000 fe:00 11 /usr/bin/python3
7f0000000000-7f0000002000 r-xp 00001000 fe:00 12                         /usr/lib/libx.so.1
7f0000002000-7f0000003000 r--p 00003000 fe:00 12                         /usr/lib/libx.so.1
7f0000003000-7f0000004000 rwxp 00004000 fe:00 12                         /usr/lib/libx.so.1
7f0000004000-7f0000005000 r-xp 00000000 00:00 0
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                          [vdso]
"""


def test_only_unwritable_code_of_libraries_is_unmapped() -> None:
    assert code_mappings(MAPS) == [CodeMapping(0x7F0000000000, 0x2000)]


def test_a_process_works_on_after_it_has_returned_its_memory_and_knows_its_certificates() -> None:
    """aiohttp is imported without the host's CA certificates; contexts that are made later have them."""
    code = (
        "import os; from node.lean_process import *; import_aiohttp_without_certificates(); end_start(); "
        "import ssl, aiohttp.connector as c; assert not c._SSL_CONTEXT_VERIFIED.get_ca_certs(); "
        "print(len(ssl.create_default_context().get_ca_certs()), os.environ.get('SSL_CERT_FILE'))"
    )
    environment = {name: value for name, value in os.environ.items() if name not in {"SSL_CERT_FILE", "SSL_CERT_DIR"}}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.stdout == f"{len(ssl.create_default_context().get_ca_certs())} None\n", done.stderr


@pytest.mark.parametrize(
    ("worked", "lately", "after"),
    [(0.0, 0.0, False), (0.2, 0.1, False), (0.3, 0.1, True), (0.3, 0.3, False), (60.0, 4.0, False), (60.0, 0.0, True)],
)
def test_memory_is_returned_when_it_is_quiet_after_work(worked: float, lately: float, after: bool) -> None:
    assert is_after_burst(worked, lately) is after


def test_the_installed_grpc_knows_the_experiments_that_are_switched_off() -> None:
    code = (
        "import node.coveyd, node.lean_process as lean, sys; assert 'grpc' not in sys.modules; lean.poll_grpc_in_one_thread(); "
        "import grpc; grpc.insecure_channel('unix:/nowhere').close(); print('made')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("made\n", "")
