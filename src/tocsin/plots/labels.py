"""Where words go: widths measured, rows taken first come first served, what does not fit left out."""

from __future__ import annotations

from dataclasses import dataclass, field

NARROW = frozenset("iljtfr.,:;'|!()[] Iı·")
WIDE = frozenset("mwMW%@—ÅÆ")


def width(text: str, size: float = 11, bold: bool = False) -> float:
    """An upper estimate of the width of `text` in px at font size `size` px.

    Measured on DejaVu Sans, the widest font of the stack, so that words kept apart here are
    apart in every font that may draw them.
    """
    ems = sum(0.36 if c in NARROW else 0.94 if c in WIDE else 0.69 if c.isupper() else 0.63 for c in text)
    return ems * size * (1.1 if bold else 1.0)


@dataclass(slots=True)
class Rows:
    """Rows of one lane, `across` px wide; each remembers the spans already taken."""

    count: int
    across: float
    gap: float = 6.0
    taken: list[list[tuple[float, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.taken = [[] for _ in range(self.count)]

    def free(self, row: int, left: float, right: float) -> bool:
        """Whether `left`..`right` (px) is inside the lane and touches nothing in `row`."""
        if left < 0 or right > self.across:
            return False
        return all(right + self.gap <= a or left - self.gap >= b for a, b in self.taken[row])

    def take(self, row: int, left: float, right: float) -> None:
        self.taken[row].append((left, right))

    def beside(self, at: float, wide: float, clear: float = 4.0) -> tuple[int, str, float] | None:
        """Room for a word `wide` px beside `at`: (row, "left" or "right" alignment, x), and take it.

        Right of the point is tried in every row first: that is where a reader looks.
        """
        for align, x, left in (("left", at + clear, at + clear), ("right", at - clear, at - clear - wide)):
            for row in range(self.count):
                if self.free(row, left, left + wide):
                    self.take(row, left, left + wide)
                    return row, align, x
        return None
