"""The real Docker Compose, which ``scripts/setup --dev`` installs in a folder of its own: oracle and client of tests."""

import sys
from pathlib import Path

COMPOSE = Path(sys.executable).parents[1] / "compose" / "bin" / "docker-compose"


def compose_program() -> Path:
    """The program.

    Raises:
        FileNotFoundError: it is not installed.
    """
    if not COMPOSE.exists():
        raise FileNotFoundError(f"{COMPOSE} is missing: run scripts/setup --dev")
    return COMPOSE
