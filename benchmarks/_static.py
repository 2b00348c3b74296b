"""The baseline of files.py: one folder under plain uvicorn.

Usage: _static.py FOLDER; prints the port.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = Starlette(routes=[Mount("/", StaticFiles(directory=sys.argv[1]))])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", http="h11"))
    server.run(sockets=[listener])
