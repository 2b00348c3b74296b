"""The messages between net worker and node worker: as TypeScript expects and sends them."""

from __future__ import annotations

import json

import msgspec
import pytest

from ftweb import codec
from pyodide_app import messages
from tests.pyodide_app.bridge import WELCOME


@pytest.mark.parametrize(
    "message, expected",
    [
        (messages.Up(node_id="ab"), {"kind": "up", "nodeId": "ab"}),
        (messages.FrameOut(text="{}"), {"kind": "frame", "text": "{}"}),
        (
            messages.Status(
                role="leader",
                epoch=1,
                term=2,
                leader_id=None,
                successors=["ab"],
                hosting=True,
                quorum=False,
            ),
            {
                "kind": "status",
                "role": "leader",
                "epoch": 1,
                "term": 2,
                "leaderId": None,
                "successors": ["ab"],
                "hosting": True,
                "quorum": False,
                "left": [],
                "history": None,
            },
        ),
        (
            messages.Begin(client_id="c", session=3, serial=4),
            {"kind": "begin", "clientId": "c", "session": 3, "serial": 4},
        ),
        (messages.End(), {"kind": "end"}),
        (
            messages.Failed(stage="app", message="line 3"),
            {"kind": "failed", "stage": "app", "message": "line 3"},
        ),
    ],
)
def test_outgoing(message: messages.Outgoing, expected: dict[str, object]) -> None:
    assert json.loads(messages.encode(message)) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ('{"kind": "frame", "text": "{}"}', messages.FrameIn(text="{}")),
        ('{"kind": "visible", "visible": false}', messages.Visible(visible=False)),
        ('{"kind": "stop", "more": 1}', messages.Stop()),
    ],
)
def test_incoming(text: str, expected: messages.Incoming) -> None:
    assert messages.decode(text) == expected


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "up"}', '{"kind": "frame"}'])
def test_incoming_refused(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        messages.decode(text)


def test_options_of_the_start_message() -> None:
    start = {"kind": "start", "runtime": "/r/", "bundleUrl": "/b.zip", "bundle": "ab"}
    text = json.dumps({**start, "welcome": json.loads(codec.encode(WELCOME))})
    expected = messages.Options(bundle_url="/b.zip", bundle="ab", welcome=WELCOME)
    assert messages.decode_options(text) == expected
