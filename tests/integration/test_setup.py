"""What ``make setup`` leaves: an environment that every user of the host can run."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

NOBODY = "65534"


def test_another_user_can_run_the_python_of_the_environment() -> None:
    """Regression: .venv was made of the first python3 on PATH, which may lie in the home directory of root."""
    python = Path(sys.prefix) / "bin" / "python"
    command = [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        python.resolve(),
        "-c",
        "print(1)",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, "1\n"), f"{done.stderr}\nrun make setup, which makes .venv anew"
