"""Run on a host: a further bridge of a server, given its first one's data directory and origin."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from ftweb.bridge import BridgeConfig, serve
from ftweb.bridge.bundle import make_bundle
from ftweb.bridge.config import load_bridge_id, load_identity
from ftweb.cli import banner

if __name__ == "__main__":
    app, first, origin, data, port = sys.argv[1:]
    config = BridgeConfig(
        name="joined",
        identity=load_identity(Path(first)),
        bridge_id=load_bridge_id(Path(data)),
        app_dir=None,
        bundle=make_bundle(Path(app)),
        data_dir=Path(data),
        initial_state=None,
        on_quorum_loss="continue",
        links=(origin,),
        port=int(port),
    )
    asyncio.run(
        serve(config, on_ready=lambda it: click.echo(banner.as_json(it, data_dir=str(data))))
    )
