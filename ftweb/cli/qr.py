"""QR codes in a terminal.

Two rows of modules per line, by half blocks. The colours are given outright, black on white,
because a terminal's own may be light or dark, and many cameras do not read an inverted code.
Where colours are not wanted or not possible, the light modules are drawn, which is right on a dark
terminal and inverted on a light one.
"""

from __future__ import annotations

import segno

QUIET = 4
"""Modules of margin that the standard asks for."""

_COLOURS = "\x1b[38;5;16;48;5;231m"
_RESET = "\x1b[0m"


def qr_lines(text: str, *, colour: bool, width: int | None = None) -> list[str]:
    """A QR code as lines to print; none if it is wider than ``width``.

    Args:
        text: what it holds.
        colour: whether the terminal takes ANSI colours.
        width: columns of the terminal, if known.
    """
    code = segno.make(text, error="l", micro=False, boost_error=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(scale=1, border=QUIET)]
    if width is not None and len(rows[0]) > width:
        return []
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        drawn = "".join(
            _BLOCKS[a == colour, b == colour] for a, b in zip(upper, lower, strict=True)
        )
        lines.append(f"{_COLOURS}{drawn}{_RESET}" if colour else drawn)
    return lines


_BLOCKS = {
    (False, False): " ",
    (True, False): "▀",
    (False, True): "▄",
    (True, True): "█",
}
"""(upper drawn, lower drawn) → block. With colours the dark modules are drawn."""
