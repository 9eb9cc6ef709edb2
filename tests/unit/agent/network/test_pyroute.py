"""The slim import of pyroute2, in a process of its own: other tests import all of it."""

import subprocess
import sys

SCRIPT = """
import sys
from agent.network.pyroute import IPRoute, NetlinkError
assert not {"pyroute2.ndb.main", "pyroute2.ipdb"} & sys.modules.keys(), "too much was imported"
import pyroute2
from pyroute2 import NDB
assert pyroute2.IPRoute is IPRoute
assert pyroute2.NetlinkError is NetlinkError
try:
    pyroute2.nothing
except AttributeError:
    print("done")
"""


def test_only_what_is_used_is_imported_and_the_rest_stays_available() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")
