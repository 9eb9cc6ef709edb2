"""``python -m cli`` is ``covey``."""

import sys

from cli.main import main

sys.exit(main())
