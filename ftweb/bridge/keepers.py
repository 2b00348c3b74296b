"""Which browsers keep which files, and which one is asked to keep one more.

1. Tabs tell every FILES_TOLD_SECONDS which files they hold as a whole, and for how much they have
   room. What they told counts for FILES_TOLD_LEASE_SECONDS. Tabs of one browser share its storage
   and die with it: they count as one.
2. A file of the app's state that this bridge has, and fewer than FILE_BROWSERS browsers, is left to
   the next tab that tells and has room. While it fetches it counts like one that has it, for
   FILE_COPY_SECONDS at most; then it is another one's turn. Nobody fetches two at a time.
3. A browser on this machine is lost with it. It counts, but is asked only if no other can be.
4. Who has just begun to be told knows nothing: nobody is asked before all had time to tell.
5. What this bridge lacks and a browser has is asked of one tab at a time.
6. All this is in memory, for tabs tell it again; and it is only as true as they are. Who has joined
   and lies costs a file its copy, never its content.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeGuard

from ftweb.errors import FileError
from ftweb.files import Manifest
from ftweb.limits import (
    CONNECTIONS,
    FILE_BROWSERS,
    FILE_COPY_SECONDS,
    FILES_KEPT,
    FILES_TOLD_LEASE_SECONDS,
    FILES_TOLD_SECONDS,
)

GRACE_SECONDS: Final = 1.5 * FILES_TOLD_SECONDS
"""In this time every tab has told once."""

_KEY = re.compile(r"[0-9a-f]{32}")
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Told:
    """What a tab tells.

    Args:
        browser: the same for all tabs of a browser; no secret.
        tab: one page load.
        most: bytes of the largest file that it would keep for others; 0: none at all.
        room: bytes that it would still keep for others in all.
        files: ids of the files that it holds as a whole.
    """

    browser: str
    tab: str
    most: int
    room: int
    files: frozenset[str]

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read it from JSON.

        Raises:
            FileError: ``bad_manifest``.
        """
        if isinstance(value, dict):
            browser, tab = value.get("browser"), value.get("tab")
            most, room, files = value.get("most"), value.get("room"), value.get("files")
            if (
                _is(browser, _KEY)
                and _is(tab, _KEY)
                and _is_size(most)
                and _is_size(room)
                and isinstance(files, list)
                and len(files) <= FILES_KEPT
                and all(_is(one, _ID) for one in files)
            ):
                return cls(browser, tab, most, room, frozenset(files))
        raise FileError("That does not say which files a browser keeps.", code="bad_manifest")

    def fits(self, manifest: Manifest) -> bool:
        """Whether it would keep this file for others."""
        return self.most > 0 and manifest.size <= min(self.most, self.room)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tab is asked to do.

    Args:
        copy: id of a file to fetch and keep, also while it is being fetched.
        give: ids of files of which the bridge lacks something.
        named: ids of those it holds that the app's state names.
    """

    copy: str | None = None
    give: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"copy": self.copy, "give": list(self.give), "named": list(self.named)}


@dataclass(slots=True)
class _Tab:
    told: Told
    near: bool
    until: float


@dataclass(frozen=True, slots=True)
class _Asked:
    browser: str
    tab: str
    until: float


class Keepers:
    """Hears the tabs of one bridge.

    Args:
        clock: seconds, from any beginning.
        lacks: whether a part of a file is missing on this bridge.
    """

    def __init__(self, *, clock: Callable[[], float], lacks: Callable[[Manifest], bool]) -> None:
        self._clock = clock
        self._lacks = lacks
        self._tabs: dict[str, _Tab] = {}
        self._keepers: dict[str, Counter[str]] = {}
        """Of each file, in how many of its tabs each browser has it."""
        self._copying: dict[str, _Asked] = {}
        self._giving: dict[str, _Asked] = {}
        self._failed: dict[tuple[str, str], float] = {}
        """Files and browsers that were asked for them in vain, and until when that counts."""
        self._since = 0.0

    def browsers(self, file_id: str) -> int:
        """How many browsers have told that they hold a file."""
        self._expire(self._clock())
        return len(self._keepers.get(file_id, ()))

    def hear(self, told: Told, files: Mapping[str, Manifest], *, near: bool) -> Answer:
        """A tab tells what it holds.

        Args:
            told: by the tab.
            files: those that the app's state names, by their ids.
            near: it runs on this machine.
        """
        now = self._clock()
        self._expire(now)
        if not self._tabs:
            self._since = now
        if told.tab not in self._tabs and len(self._tabs) >= CONNECTIONS:
            return Answer()
        named = told.files & files.keys()
        self._leave(told.tab)
        told = Told(told.browser, told.tab, told.most, told.room, frozenset(named))
        self._tabs[told.tab] = _Tab(told, near, now + FILES_TOLD_LEASE_SECONDS)
        for file_id in named:
            self._keepers.setdefault(file_id, Counter())[told.browser] += 1
        return Answer(
            self._copy(told, files, now, near=near),
            tuple(self._give(told, files, now)),
            tuple(sorted(named)),
        )

    def _copy(
        self, told: Told, files: Mapping[str, Manifest], now: float, *, near: bool
    ) -> str | None:
        for file_id, asked in list(self._copying.items()):
            if asked.tab != told.tab:
                continue
            if file_id in files and file_id not in told.files and told.most > 0:
                return file_id
            del self._copying[file_id]
            if file_id not in told.files:
                self._failed[file_id, told.browser] = now + FILE_COPY_SECONDS
        if now - self._since < GRACE_SECONDS:
            return None
        for file_id, manifest in files.items():
            if (
                file_id not in self._copying
                and len(self._keepers.get(file_id, ())) < FILE_BROWSERS
                and self._can(told, file_id, manifest)
                and not self._lacks(manifest)
                and not (near and self._another_can(file_id, manifest))
            ):
                until = now + FILE_COPY_SECONDS
                self._copying[file_id] = _Asked(told.browser, told.tab, until)
                return file_id
        return None

    def _can(self, told: Told, file_id: str, manifest: Manifest) -> bool:
        return (
            told.fits(manifest)
            and told.browser not in self._keepers.get(file_id, ())
            and (file_id, told.browser) not in self._failed
        )

    def _another_can(self, file_id: str, manifest: Manifest) -> bool:
        """Whether there is a browser on another machine for it."""
        return any(
            not tab.near and self._can(tab.told, file_id, manifest) for tab in self._tabs.values()
        )

    def _give(self, told: Told, files: Mapping[str, Manifest], now: float) -> list[str]:
        wanted = []
        for file_id in sorted(told.files):
            asked = self._giving.get(file_id)
            if (asked is None or asked.tab == told.tab) and self._lacks(files[file_id]):
                until = now + FILES_TOLD_LEASE_SECONDS
                self._giving[file_id] = asked or _Asked(told.browser, told.tab, until)
                wanted.append(file_id)
        return wanted

    def _expire(self, now: float) -> None:
        for tab in [tab for tab, known in self._tabs.items() if known.until <= now]:
            self._leave(tab)
        for file_id, asked in list(self._copying.items()):
            if asked.tab not in self._tabs:
                del self._copying[file_id]
            elif asked.until <= now:
                del self._copying[file_id]
                self._failed[file_id, asked.browser] = now + FILE_COPY_SECONDS
        for file_id, asked in list(self._giving.items()):
            if asked.until <= now or asked.tab not in self._tabs:
                del self._giving[file_id]
        for pair in [pair for pair, until in self._failed.items() if until <= now]:
            del self._failed[pair]

    def _leave(self, tab: str) -> None:
        known = self._tabs.pop(tab, None)
        if known is None:
            return
        for file_id in known.told.files:
            keepers = self._keepers[file_id]
            keepers[known.told.browser] -= 1
            if keepers[known.told.browser] == 0:
                del keepers[known.told.browser]
            if not keepers:
                del self._keepers[file_id]


def _is(value: Any, pattern: re.Pattern[str]) -> TypeGuard[str]:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_size(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
