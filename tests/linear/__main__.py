"""``python -m tests.linear HISTORY…``: check saved histories again."""

import sys
from pathlib import Path

from tests.linear.checker import Answer, check
from tests.linear.history import load
from tests.linear.report import explain


def main() -> int:
    bad = 0
    for name in sys.argv[1:]:
        ops = load(Path(name))
        verdicts = check(ops)
        print(f"{name}: {len(ops)} operations, {len(verdicts)} objects")
        for verdict in verdicts:
            if verdict.answer is not Answer.OK:
                bad += 1
                print(explain(verdict, ops), end="\n\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
