"""Scenarios as transcripts: ``transcripts/*.txt`` hold commands and what they print, literally.

A line ``> command …`` is run; the lines after it, up to a blank line, are what it must print.
``FTWEB_REWRITE=1 pytest tests/core/test_transcripts.py`` writes the files anew: read the
difference before committing it.

Commands (``NODE`` is a name, lists are separated by commas)::

    settings NAME=VALUE…              before start; upkeep is off unless it is set here
    start voters=… [learners=…] [successors=…]
    add NODE…                         nodes with empty logs
    campaign NODE                     time passes until its election timer runs out
    stabilize                         deliver until nothing is under way, printing each message
    settle                            the same without printing
    drop                              lose all that is under way
    advance MS                        let time pass, delivering and ticking, without printing
    propose NODE WORD…                one proposal per word
    configure NODE voters=… [learners=…] [successors=…]
    transfer NODE TO
    lost NODE [to=…]                  tell the live nodes (or those) that it is gone
    crash NODE… | freeze NODE… | thaw NODE… | restart NODE…
    cut A B | join A B                both directions
    directory NODE:DEVICE[:bridge][:local][:hidden]…
    compact NODE                      a snapshot as of what is applied
    status [NODE…] | log NODE | applied [NODE…]
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftweb.core.configuration import from_data
from ftweb.core.settings import Settings
from ftweb.core.types import NodeId, NodeKind
from ftweb.errors import NotLeaderError

if TYPE_CHECKING:
    from tests.core.conftest import Cluster, Member

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
REWRITE = bool(os.environ.get("FTWEB_REWRITE"))


class Script:
    """Runs commands against a cluster and collects what they print."""

    def __init__(self, cluster_type: type[Cluster], entry: Callable[..., Any]) -> None:
        self._make = cluster_type
        self._entry = entry
        self._settings = Settings(upkeep=False)
        self._cluster: Cluster | None = None
        self.output: list[str] = []

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            self._cluster = self._make(self._settings)
        return self._cluster

    def run(self, line: str) -> list[str]:
        words = line.split()
        options = {}
        for word in [word for word in words[1:] if "=" in word]:
            name, _, value = word.partition("=")
            options[name] = value
            words.remove(word)
        self.output = []
        getattr(self, "do_" + words[0])(*words[1:], **options)
        return self.output or ["ok"]

    # --- commands -------------------------------------------------------------------------

    def do_settings(self, **values: str) -> None:
        types = {field.name: field.type for field in dataclasses.fields(Settings)}
        convert: dict[str, Callable[[str], Any]] = {"bool": lambda text: text == "on", "int": int}
        chosen: dict[str, Any] = {
            name: convert.get(str(types[name]), float)(value) for name, value in values.items()
        }
        self._settings = dataclasses.replace(self._settings, **chosen)

    def do_start(self, **lists: str) -> None:
        self.cluster.start(**{name: split(value) for name, value in lists.items()})
        self.do_status()

    def do_add(self, *nodes: str) -> None:
        for node in nodes:
            self.cluster.add(node)
        self.do_status(*nodes)

    def do_campaign(self, node: str) -> None:
        cluster = self.cluster
        member = cluster.members[node]
        cluster.now = max(cluster.now, member.node.next_deadline())
        member.node.tick(cluster.now)
        self.do_status(node)

    def do_stabilize(self) -> None:
        self.cluster.trace = self.output.append
        self.cluster.stabilize()
        self.cluster.trace = None
        self.cluster.check_logs()

    def do_settle(self) -> None:
        self.cluster.stabilize()

    def do_drop(self) -> None:
        self.output.append(f"{self.cluster.drop()} lost")

    def do_advance(self, duration: str) -> None:
        self.cluster.advance(float(duration))
        self.cluster.check_logs()
        self.do_status()

    def do_propose(self, node: str, *data: str) -> None:
        try:
            for word in data:
                index = self.cluster.node(node).propose(word, self.cluster.now)
                self.output.append(f"{word} at {index}")
        except NotLeaderError as error:
            self.output.append(f"NotLeaderError: {error.message}")

    def do_configure(self, node: str, **lists: str) -> None:
        data: dict[str, list[str]] = {"voters": [], "learners": [], "successors": []}
        data |= {name: split(value) for name, value in lists.items()}
        if "successors" not in lists:
            data["successors"] = data["voters"] + data["learners"]
        done = self.cluster.node(node).change_configuration(from_data(data), self.cluster.now)
        self.output.append("appended" if done else "not now")

    def do_transfer(self, node: str, to: str) -> None:
        begun = self.cluster.node(node).transfer_leadership(NodeId(to), self.cluster.now)
        self.output.append("begun" if begun else "not now")

    def do_lost(self, node: str, to: str | None = None) -> None:
        told = self.cluster.live() if to is None else [self.cluster.members[n] for n in split(to)]
        for member in told:
            if member.id != node:
                member.node.lost(NodeId(node), self.cluster.now)

    def do_crash(self, *nodes: str) -> None:
        for node in nodes:
            self.cluster.crash(node)

    def do_freeze(self, *nodes: str) -> None:
        for node in nodes:
            self.cluster.members[node].paused = True

    def do_thaw(self, *nodes: str) -> None:
        for node in nodes:
            self.cluster.members[node].paused = False

    def do_restart(self, *nodes: str) -> None:
        for node in nodes:
            self.cluster.members[node].restart()
        self.do_status(*nodes)

    def do_cut(self, one: str, other: str) -> None:
        self.cluster.cut |= {(one, other), (other, one)}

    def do_join(self, one: str, other: str) -> None:
        self.cluster.cut -= {(one, other), (other, one)}

    def do_directory(self, *nodes: str) -> None:
        before = dict(self.cluster.infos)
        for node in nodes:
            name, device, *flags = node.split(":")
            kind = NodeKind.BRIDGE if "bridge" in flags else NodeKind.TAB
            self.cluster.info(
                name, device, kind=kind, local="local" in flags, visible="hidden" not in flags
            )
        for name in before.keys() - {node.partition(":")[0] for node in nodes}:
            del self.cluster.infos[name]
        self.cluster.directory()

    def do_compact(self, node: str) -> None:
        snapshot = self.cluster.members[node].compact()
        self.output.append(f"snapshot of {snapshot.last_index}/{snapshot.last_term}")

    def do_status(self, *nodes: str) -> None:
        for member in self._chosen(nodes):
            node = member.node
            words = [f"{member.id} {node.role}", f"term={node.term}", f"leader={node.leader_id}"]
            words.append(f"log={node.last_index} commit={node.commit_index}")
            words += ["quorum"] * node.quorum_active + ["transferring"] * node.transferring
            self.output.append(" ".join(words))

    def do_log(self, node: str) -> None:
        from_entry = self._entry
        for index in sorted(self.cluster.members[node].entries):
            self.output.append(from_entry(self.cluster.members[node].entries[index]))

    def do_applied(self, *nodes: str) -> None:
        for member in self._chosen(nodes):
            self.output.append(f"{member.id}: {' '.join(member.applied)}")

    def _chosen(self, nodes: tuple[str, ...]) -> list[Member]:
        for member in self.cluster.live():
            if not member.paused:
                self.cluster.send(member)
        return [self.cluster.members[n] for n in nodes] if nodes else self.cluster.live()


def split(value: str) -> list[str]:
    return [word for word in value.split(",") if word]


def test_there_are_enough() -> None:
    assert len(TRANSCRIPTS) >= 15


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(
    path: Path, make_cluster: type[Cluster], show_entry: Callable[..., str]
) -> None:
    written = path.read_text(encoding="utf-8")
    script = Script(make_cluster, show_entry)
    lines = []
    skipping = False
    for line in written.splitlines():
        if line.startswith("> "):
            lines += [line, *script.run(line[2:])]
            skipping = True
        elif not line.strip():
            lines.append(line)
            skipping = False
        elif line.startswith("#") or not skipping:
            assert line.startswith("#"), f"neither comment, command nor output: {line}"
            lines.append(line)
    found = "\n".join(lines) + "\n"
    if REWRITE:
        path.write_text(found, encoding="utf-8")
    assert REWRITE or found == written
