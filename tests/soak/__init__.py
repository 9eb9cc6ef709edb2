"""Soak test: ``make soak ARGS="--minutes 60"`` runs all fault tests of the managers with fresh seeds; the last result is docs/soak.md."""
