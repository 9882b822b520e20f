"""Times of HL7 v2: an instant, or nothing; a time without an offset is read by the clock of a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

#: Year to minute at least: a bare date would put a reading at midnight.
_FORM = re.compile(
    r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:\.(\d{1,6})\d*)?)?(?:([+-])(\d\d)(\d\d))?", re.ASCII
)


@lru_cache(maxsize=4_096)
def instant(text: str, zone: str) -> datetime | None:
    """A time as an instant; None where it is not said to the minute, or cannot be.

    An hour that a clock shows twice is its first, one that it leaves out the end of the gap, as in files.

    >>> instant("202603011430", "Europe/Berlin").isoformat()
    '2026-03-01T13:30:00+00:00'
    >>> instant("20260301143005.5-0500", "Europe/Berlin").isoformat()
    '2026-03-01T19:30:05.500000+00:00'
    >>> instant("20260301", "UTC"), instant("202602301200", "UTC")
    (None, None)
    """
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute = (int(part) for part in found.groups()[:5])
    second, parts, sign, ahead, more = found.groups()[5:]
    try:
        wall = datetime(
            year, month, day, hour, minute, int(second or 0), int((parts or "0").ljust(6, "0"))
        )  # fmt: skip
        if sign is not None:
            offset = timedelta(hours=int(ahead), minutes=int(more)) * (-1 if sign == "-" else 1)
            return wall.replace(tzinfo=timezone(offset)).astimezone(UTC)
        local = pa.scalar(wall, pa.timestamp("us"))
        told = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest")
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=told.cast(pa.int64()).as_py())
    except (ValueError, OverflowError, pa.ArrowException):
        return None
