"""``ftweb simulate`` with a planted bug in place, for people to see what it says then.

    python -m tests.simulation.planted votes_twice_in_a_term --schedules 2000 --seed 1 --json

Without a name it lists them. It all happens in this process, where the bug is.
"""

from __future__ import annotations

import sys

import pytest

from ftweb.cli.commands import cli
from tests.simulation.planted.leaders import BUGS


def main(arguments: list[str]) -> None:
    """Plant the bug and run the command; ends with its exit status."""
    if not arguments or arguments[0] not in BUGS:
        sys.exit("Name one of these first: " + ", ".join(sorted(BUGS)))
    with pytest.MonkeyPatch.context() as patch:
        BUGS[arguments[0]].plant(patch)
        cli(["simulate", *arguments[1:], "--jobs", "1"])


if __name__ == "__main__":
    main(sys.argv[1:])
