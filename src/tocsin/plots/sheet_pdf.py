"""The hand-over sheet as PDF: A4, black on white, tables that break between rows."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from tocsin.plots.course import PlotError
from tocsin.plots.sheet_parts import NOTE, Part, head_of

#: The built-in fonts of PDF hold Latin 1; what they lack is written in its letters.
LETTERS = {
    "≥": ">=",
    "≤": "<=",
    "–": "-",
    "—": "-",
    "→": "->",
    "…": "...",
    "’": "'",
    "“": '"',
    "”": '"',
    "₂": "2",
}
#: The shapes of grades stand on the picture; in text the number says it.
LETTERS.update(dict.fromkeys(("○ ", "● ", "◆ ", "■ ", "⬢ ", "✚ "), ""))
SHARES = {2: (28, 72), 3: (22, 56, 22), 5: (18, 14, 18, 20, 30)}


def pdf(answer: Mapping[str, Any], sections: list[Part], picture: bytes | None) -> bytes:
    """The sheet as a PDF document."""
    from fpdf import FPDF

    title, head = head_of(answer)

    class Paper(FPDF):
        """A page with its number and whose it is at the foot."""

        def footer(self) -> None:
            self.set_y(-10)
            self.set_font("Helvetica", size=7)
            self.cell(0, 4, latin(f"{title} · {head} · page {self.page_no()} of {{nb}}"), align="C")

    paper = Paper(format="A4")
    paper.set_margin(12)
    paper.set_auto_page_break(True, margin=14)
    paper.set_title(latin(title))
    paper.add_page()
    paper.set_font("Helvetica", "B", 15)
    paper.cell(0, 8, latin(title), new_x="LMARGIN", new_y="NEXT")
    paper.set_font("Helvetica", size=9)
    paper.multi_cell(0, 4.5, latin(head), new_x="LMARGIN", new_y="NEXT")
    paper.set_font("Helvetica", size=7)
    paper.multi_cell(0, 3.5, latin(NOTE), new_x="LMARGIN", new_y="NEXT")
    for i, part in enumerate(sections):
        _part(paper, part)
        if i == 0 and picture:
            paper.ln(2)
            paper.image(BytesIO(picture), w=paper.epw)
    return bytes(paper.output())


def _part(paper: Any, part: Part) -> None:
    paper.ln(2)
    paper.set_font("Helvetica", "B", 10)
    paper.cell(0, 5, latin(part.title), border="B", new_x="LMARGIN", new_y="NEXT")
    size = 6.5 if part.small else 8
    paper.set_font("Helvetica", size=size)
    if part.rows:
        widths = SHARES.get(len(part.headings), (1,) * len(part.headings))
        with paper.table(
            col_widths=widths, borders_layout="HORIZONTAL_LINES", line_height=size * 0.5, markdown=True,
            text_align="LEFT", padding=0.6,
        ) as table:  # fmt: skip
            for row in (part.headings, *part.rows):
                line = table.row()
                for text in row:
                    line.cell(latin(plain(text)))
    for text in part.lines:
        paper.multi_cell(0, size * 0.5, latin(plain(text)), new_x="LMARGIN", new_y="NEXT", markdown=True)


def plain(text: str) -> str:
    """Text in which only our `**` means anything: the other marks of the printer are broken up.

    >>> plain("a--b __c__ **d**")
    'a- -b _ _c_ _ **d**'
    """
    return text.replace("--", "- -").replace("__", "_ _").replace("~~", "~ ~")


def latin(text: str) -> str:
    """Text in the letters that the built-in fonts hold.

    >>> latin("SpO2 ≥ 97 %")
    'SpO2 >= 97 %'
    """
    for letter, instead in LETTERS.items():
        text = text.replace(letter, instead)
    try:
        return text.encode("latin-1").decode("latin-1")
    except UnicodeEncodeError as error:
        raise PlotError(
            f"`{text[error.start : error.end]}` cannot be printed with the fonts every PDF has\n"
            "  why: printed as `?`, two patients could look the same\n"
            "  fix: write the sheet as .html and print that"
        ) from None
