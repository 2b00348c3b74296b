"""A list of files, and nothing that looks after them."""

from typing import Any

import ftweb
from ftweb.files import check_manifest

server = ftweb.init_server("shelf", state={"files": []})


@server.on_receive
def receive(message: Any) -> int:
    manifest = check_manifest(message["manifest"])
    with server.change() as state:
        state["files"].append(manifest.to_dict())
        return len(state["files"])
