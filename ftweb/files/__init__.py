"""Files in chunks, each with its hash, that may come from whoever has them.

=================  ======================================================================
module             concept
=================  ======================================================================
:mod:`.manifest`   what a file is: name, type, size, the hash of each part and of the whole
:mod:`.holders`    whom to ask next
:mod:`.transfer`   what is still to be fetched, and from which byte
=================  ======================================================================

Nothing here knows sockets, disks or clocks. An app keeps manifests in its state like anything
else; :func:`check_manifest` is for its handler::

    from ftweb import files

    @server.on_receive
    def receive(message, source):
        manifest = files.check_manifest(message["manifest"])
        with server.change() as state:
            state["files"][manifest.id] = manifest.to_dict()
"""

from __future__ import annotations

from ftweb.files.holders import Holders
from ftweb.files.manifest import (
    Manifest,
    check_manifest,
    chunk_bytes_for,
    describe,
    find_manifests,
    parse_manifest,
)
from ftweb.files.transfer import Fetch, Transfer

__all__ = [
    "Fetch",
    "Holders",
    "Manifest",
    "Transfer",
    "check_manifest",
    "chunk_bytes_for",
    "describe",
    "find_manifests",
    "parse_manifest",
]
