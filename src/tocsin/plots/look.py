"""One look for a grade, everywhere: colour, number and shape, on light and on dark.

Grades darken as they rise, in both themes, so the order survives greyscale and the common colour
blindnesses; number and shape always go with the colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.definitions.schema import TocsinError, near

#: The reader's own interface font first; the named fallbacks matter where a PNG is made without one
#: (the converter draws nothing at all for a family it cannot find).
FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', "
    "'Noto Sans', 'DejaVu Sans', sans-serif"
)

#: SVG paths in the unit square -1..1, or a name Vega knows.
OCTAGON = "M-0.42,-1L0.42,-1L1,-0.42L1,0.42L0.42,1L-0.42,1L-1,0.42L-1,-0.42Z"
CROSS = "M-0.7,-0.7L0.7,0.7M-0.7,0.7L0.7,-0.7"
SHAPES = ("circle", "circle", "diamond", "square", OCTAGON, OCTAGON)


@dataclass(frozen=True, slots=True)
class Look:
    """Every colour of one theme. `grades[g]` is filled with `on_grade[g]` written on it."""

    page: str
    panel: str
    edge: str
    grid: str
    ink: str
    muted: str
    grades: tuple[str, ...]
    on_grade: tuple[str, ...]
    unmeasured: str
    unmeasured_edge: str
    alarm: str
    point: str
    line: str
    pressor: str
    bolus: str
    oxygen: str
    given: Mapping[str, str]


LIGHT = Look(
    page="#F5F7F9",
    panel="#FFFFFF",
    edge="#DDE3E8",
    grid="#EDF0F3",
    ink="#1D252D",
    muted="#5C6873",
    grades=("#D9DEE3", "#F4D58D", "#F19C4B", "#C8453B", "#5B1647", "#111114"),
    on_grade=("#1D252D", "#2B2208", "#2B1703", "#FFFFFF", "#FFFFFF", "#FFFFFF"),
    unmeasured="#FFFFFF",
    unmeasured_edge="#7D8791",
    alarm="#C8453B",
    point="#4C5B6B",
    line="#8B98A5",
    pressor="#2257A8",
    bolus="#1E8A74",
    oxygen="#0B7080",
    given={
        "therapy": "#1D252D",
        "anti-cytokine": "#2257A8",
        "steroid": "#7A3F96",
        "antipyretic": "#5C6873",
        "procedure": "#5C6873",
    },
)

DARK = Look(
    page="#11161C",
    panel="#1A2028",
    edge="#2E3843",
    grid="#242C35",
    ink="#E8EDF2",
    muted="#9AA6B2",
    grades=("#C9D0D7", "#EBC873", "#E08A3C", "#C4413A", "#6E1C57", "#000000"),
    on_grade=("#1D252D", "#2B2208", "#2B1703", "#FFFFFF", "#FFFFFF", "#FFFFFF"),
    unmeasured="#1A2028",
    unmeasured_edge="#9AA6B2",
    alarm="#FF8078",
    point="#A9B7C6",
    line="#6D7B89",
    pressor="#6FA8FF",
    bolus="#4FC7AB",
    oxygen="#45BFD0",
    given={
        "therapy": "#E8EDF2",
        "anti-cytokine": "#6FA8FF",
        "steroid": "#CF98EA",
        "antipyretic": "#9AA6B2",
        "procedure": "#9AA6B2",
    },
)

THEMES: Mapping[str, Look] = {"light": LIGHT, "dark": DARK}


def look(theme: str) -> Look:
    """The colours of `theme` ("light" or "dark"); raises `TocsinError` for another word."""
    if theme not in THEMES:
        raise TocsinError(f"no theme `{theme}`{near(theme, THEMES)}\n  fix: one of: {', '.join(THEMES)}")
    return THEMES[theme]


def lightness(colour: str) -> float:
    """Relative luminance of `#RRGGBB`, 0 (black) to 1 (white): what is left of a colour in greyscale.

    >>> round(lightness("#FFFFFF"), 3), lightness("#000000")
    (1.0, 0.0)
    """
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


UNIT_WORDS = (
    ("{score}", ""),
    ("mm[Hg]", "mmHg"),
    ("[IU]", "IU"),
    ("[degF]", "°F"),
    ("Cel", "°C"),
    ("ug", "µg"),
    ("10*3", "10³"),
    ("10*9", "10⁹"),
    ("{", ""),
    ("}", ""),
)


def unit_text(unit: str | None) -> str:
    """A UCUM unit as people write it at the bedside.

    >>> unit_text("ug/kg/min"), unit_text("mm[Hg]"), unit_text(None)
    ('µg/kg/min', 'mmHg', '')
    """
    text = unit or ""
    for ucum, written in UNIT_WORDS:
        text = text.replace(ucum, written)
    return "" if text == "1" else text


def number(value: float) -> str:
    """A number with three significant digits and no noise.

    >>> number(3900.0), number(0.12), number(38.04), number(7.0), number(123456.0)
    ('3,900', '0.12', '38', '7', '123,000')
    """
    if value == 0 or not abs(value) < float("inf"):
        return "0" if value == 0 else "∞"
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 1000:
        return f"{rounded:,.0f}"
    return f"{rounded:.6f}".rstrip("0").rstrip(".")


def quantity(value: float | None, unit: str | None) -> str:
    """`182 mg/L`; empty where there is no value."""
    if value is None:
        return ""
    shown = unit_text(unit)
    gap = "" if shown.startswith(("°", "%")) else " "
    return f"{number(value)}{gap}{shown}".strip()


def lowered(title: str) -> str:
    """A title as it stands inside a sentence: its first letter small, unless it is an abbreviation.

    >>> lowered("Tocilizumab"), lowered("CAR T cells"), lowered("IL-6")
    ('tocilizumab', 'CAR T cells', 'IL-6')
    """
    return title if title[1:2].isupper() or title[1:2] == "-" else title[:1].lower() + title[1:]
