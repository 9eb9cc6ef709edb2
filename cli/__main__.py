"""Entry point of ``python -m cli``, which is the command ``covey``."""

import sys

from cli.main import main

sys.exit(main())
