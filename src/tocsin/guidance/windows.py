"""How long a patient is watched: by product, country and label date; every dose opens its window anew."""

from __future__ import annotations

from typing import Any

from tocsin.definitions.workup import Window
from tocsin.definitions.workup import windows as known_windows
from tocsin.grading.opcodes import HOUR
from tocsin.guidance.bedside import Bedside, written

Said = dict[str, Any]
#: Products given once, or in parts that count from the first.
FROM_FIRST = ("car-t", "tcr-t")


def windows(bed: Bedside, country: str | None = None, label_date: str | None = None) -> list[Said]:
    """What labels and leaflets ask for while a window stands, each with the dose that opened it.

    Parameters
    ----------
    country    : only rules of that country, and those that name none; none = all.
    label_date : the site's label, as `2024-01`; none = the rules of every date, each saying which.
    """
    if bed.therapy is None:
        return []
    own = [row for row in bed.doses if row["measure"] == bed.therapy]
    infused = bool(set(FROM_FIRST) & set(bed.therapy_classes))
    out: list[Said] = []
    for rule in known_windows(bed.lib):
        if bed.therapy not in rule.therapies or not _asked(rule, country, label_date):
            continue
        number = 1 if infused else len(own)
        if rule.doses and number not in rule.doses:
            continue
        opened = int(own[number - 1]["time"])
        ends = None if rule.hours is None else opened + round(rule.hours * HOUR)
        if ends is not None and bed.now >= ends:
            continue
        out.append({
            "asks": rule.asks, "country": rule.country or None, "since": rule.since or None,
            "until_label": rule.until or None, "dose_number": number, "opened": written(opened),
            "ends": written(ends), "source": list(rule.source), "status": rule.status,
        })  # fmt: skip
    return out


def _asked(rule: Window, country: str | None, label_date: str | None) -> bool:
    if country is not None and rule.country not in ("", country.upper()):
        return False
    if label_date is None:
        return True
    return (not rule.since or label_date >= rule.since) and (not rule.until or label_date < rule.until)
