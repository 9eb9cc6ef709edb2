"""Reasons of the known differences from Docker's engine, and the fields that came or went after its API 1.41.

Invariant: each key of REASONS is used by a row, and a row that has one differs (tests check both). ``docs/compatibility.md`` lists all.
"""

REASONS: dict[str, str] = {}

NEWER_FIELDS: dict[str, str] = {}
"""Fields that API 1.42 to 1.50 added; Covey shows them to older clients too, as Docker's newer engines do. End of a path: API version."""

GONE_FIELDS: dict[str, str] = {}
"""Fields of Docker 20.10 that API 1.42 to 1.50 removed. End of a path: API version."""
