"""Microseconds since 1970 as moments, and as they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(t: int) -> datetime:
    """Microseconds since 1970 as a moment."""
    return EPOCH + timedelta(microseconds=t)


def written(t: int | None) -> str | None:
    """Microseconds since 1970 as ISO 8601 with Z, to the second.

    >>> written(1_772_366_400_000_000)
    '2026-03-01T12:00:00Z'
    """
    return None if t is None else moment(t).strftime("%Y-%m-%dT%H:%M:%SZ")
