"""QR codes in a terminal: what is drawn is the code, whatever the colours."""

from __future__ import annotations

import re

import pytest
import segno

from ftweb.cli.qr import QUIET, qr_lines

URL = "http://192.0.2.7:8765/#join=ycpcQKn8veLYjSD9of-IIw"


def dark_modules(lines: list[str], *, drawn_is_dark: bool) -> list[list[bool]]:
    """Read the modules back from the half blocks."""
    rows: list[list[bool]] = []
    for line in lines:
        upper = [character in "▀█" for character in line]
        lower = [character in "▄█" for character in line]
        rows += [
            [cell == drawn_is_dark for cell in upper],
            [cell == drawn_is_dark for cell in lower],
        ]
    return rows


@pytest.mark.parametrize("colour", [True, False])
def test_what_is_drawn_is_the_code(colour: bool) -> None:
    lines = qr_lines(URL, colour=colour)
    if colour:
        pattern = re.compile(r"\x1b\[38;5;16;48;5;231m([ ▀▄█]*)\x1b\[0m")
        lines = [match[1] for line in lines if (match := pattern.fullmatch(line))]
    rows = dark_modules(lines, drawn_is_dark=colour)
    code = segno.make(URL, error="l", micro=False, boost_error=False)
    wanted = [[bool(cell) for cell in row] for row in code.matrix_iter(scale=1, border=QUIET)]
    assert rows[: len(wanted)] == wanted
    assert not any(map(any, rows[len(wanted) :])), "what fills the last line is light"


def test_one_that_does_not_fit_is_left_out() -> None:
    width = len(qr_lines(URL, colour=False)[0])
    assert qr_lines(URL, colour=False, width=width)
    assert qr_lines(URL, colour=True, width=width - 1) == []
    assert width <= 45, "a narrow terminal shows it too"
