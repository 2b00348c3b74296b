"""The Python client: ``async with ftweb.connect(name_or_url) as connection``.

What the page runtime does for a phone, for a script: connect, send with serials, receive, live
state, status, reconnect.

=========================  ==============================================================
module                     concept
=========================  ==============================================================
:mod:`.address`            what was given → where and with which token
:mod:`.lookup`             a server's name → its address, by mDNS
:mod:`.session`            what is said and when (sans-I/O); the exactly-once rules
:mod:`.events`             what the session has to tell (sans-I/O)
:mod:`.state`              the copy of the app's state (sans-I/O)
:mod:`.status`             how things stand
:mod:`.connection`         what a script holds
:mod:`.downloads`          files, from any bridge, on from where the last run stopped
:mod:`.keeper`             one socket at a time, reconnects, the ``async with``
=========================  ==============================================================
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ftweb.client.address import parse_target
from ftweb.client.connection import Connection
from ftweb.client.downloads import download
from ftweb.client.events import Outcome
from ftweb.client.status import ConnectionStatus

if TYPE_CHECKING:
    from ftweb.client.keeper import Keeper

__all__ = ["Connection", "ConnectionStatus", "Outcome", "connect", "download"]


def connect(
    name_or_url: str,
    *,
    token: str = "",
    presenter_token: str = "",
    device_key: str | None = None,
    open_timeout: float = 10.0,
) -> Keeper:
    """Connect to a server: ``async with ftweb.connect(...) as connection``.

    Args:
        name_or_url: what the QR code holds (``http://host:port/#join=TOKEN``), ``ws://…``,
            ``host:port``, or the name of a server on this network.
        token: the join token, unless it is in the URL.
        presenter_token: makes this connection a presenter's.
        device_key: 32 hex digits that say which device this is, to keep one's ballot from run
            to run. Without one, each call is a device of its own.
        open_timeout: seconds until the bridge has to have answered.

    Raises:
        ConnectError: at once: the address cannot be understood, or there is no token. On
            entering the block: ``server_not_found``, ``connect_failed``, ``bad_token``,
            ``version_mismatch`` and so on. Out of the block: the latter two, when a reconnect
            meets them.
        ValueError: ``device_key`` is not 32 hex digits.
    """
    # Here, since the sans-I/O half runs where there are no sockets, too.
    from ftweb.client.keeper import Keeper
    from ftweb.client.lookup import find_server

    target = parse_target(name_or_url, token=token, presenter_token=presenter_token)
    if device_key is None:
        device_key = secrets.token_hex(16)
    elif len(device_key) != 32 or set(device_key) - set("0123456789abcdef"):
        raise ValueError("device_key has to be 32 hex digits in lower case.")
    return Keeper(target, device_key=device_key, open_timeout=open_timeout, find=find_server)
