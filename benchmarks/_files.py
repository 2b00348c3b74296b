"""What the benchmarks of files share: bridges on loopback, the baseline's server, content."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _common import ROOT

from ftweb.files import Manifest, chunk_bytes_for, describe
from tests.lan import memory


class Bridge:
    """``ftweb run examples/files`` on loopback."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[str] | None = None
        self.info: dict[str, Any] = {}

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ftweb", "run", str(ROOT / "examples" / "files")),
                *("--json", "--no-browser", "--no-mdns", "--host", "127.0.0.1"),
                *("--port", str(self.port), "--data", str(self.folder)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        self.info = json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def count_memory(self) -> float:
        """What it has now, in MB; its peak is counted from here."""
        assert self.process is not None
        return memory.begin(self.process.pid)["browser"]

    def peak(self) -> float:
        assert self.process is not None
        return memory.peaks(self.process.pid)["browser"]

    def put(self, manifest: Manifest, path: Path) -> None:
        """Upload a file."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        token = {"Authorization": f"Bearer {self.info['join_token']}"}

        def send(to: str, body: bytes) -> None:
            connection.request("PUT", f"/ftweb/files/{manifest.id}{to}", body, token)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 300, said

        send("", json.dumps(manifest.to_dict()).encode())
        with path.open("rb") as file:
            for index in range(len(manifest.chunks)):
                send(f"/chunks/{index}", file.read(manifest.chunk_bytes))
        connection.close()


def start_static(folder: Path) -> subprocess.Popen[str]:
    """The baseline's server; it prints its port."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks" / "_static.py"), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )


def get(port: int, path: str, target: Path) -> float:
    """One plain GET into a file; milliseconds."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    with target.open("wb") as file:
        while piece := answer.read1(256 * 1024):
            file.write(piece)
    connection.close()
    return (time.perf_counter() - begin) * 1000


def right(path: Path, manifest: Manifest) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == manifest.sha256


def write_random(path: Path, size: int) -> None:
    """The same content each time; in pieces, since one of 900 MB is too large for ``random``."""
    dice = random.Random(size)
    with path.open("wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(dice.randbytes(min(1 << 20, size - start)))


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def make(folder: Path, size: int) -> tuple[Path, Manifest]:
    """A file of so many bytes, and its description."""
    path = folder / f"{size}.bin"
    write_random(path, size)
    kind = "application/octet-stream"
    return path, describe(path.name, kind, pieces(path), chunk_bytes=chunk_bytes_for(size))
