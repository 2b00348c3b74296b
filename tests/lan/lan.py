"""A LAN on one machine: network namespaces joined by a bridge device.

::

    namespace  ft1a2b3c-switch          namespace  ft1a2b3c-laptop
        br0 ── p1 ══════════ veth ══════════ eth0  192.0.2.1/24
            └─ p2 ══════════ veth ══════════ eth0  192.0.2.2/24   (ft1a2b3c-phone1)

Rules:

1. The switch has a namespace of its own, so nothing appears in the machine's own network, and
   its bridge device does not snoop multicast: mDNS reaches every port, as on a home router.
2. Every host has its loopback up, a route for 224.0.0.0/4 (mDNS), and a default route to an
   address where nobody is: browsers gather WebRTC candidates only where there is one.
3. Addresses come from 192.0.2.0/24, which is reserved for documentation (RFC 5737). To a browser
   they are plain LAN addresses: *insecure* origins, as phones see them.
4. A LAN stops only processes that run in its own namespaces, and deletes only those. Their names
   bear a random prefix, so several LANs can exist side by side. Processes are also tied to the
   thread that started them: when a test run is killed, they go with it.

Needs root, or a user namespace in which the process is root (see ``docs/evaluation.md``).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

NETWORK = "192.0.2"
NOBODY = f"{NETWORK}.254"
"""The default gateway of every host: an address that no host has."""

GRACE_SECONDS = 3.0
"""How long processes get between SIGTERM and SIGKILL when a LAN closes."""


class LanError(RuntimeError):
    """The LAN cannot be made here; the message says what is missing."""


def _ip(*words: str) -> str:
    """Run ``ip``; a failure names the command and what it said."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LanError(f"`ip {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout


def check_possible() -> None:
    """Raise :class:`LanError` with the missing piece when namespaces cannot be made here."""
    if shutil.which("ip") is None:
        raise LanError("The LAN tests need the `ip` command (Debian and Ubuntu: iproute2).")
    if os.geteuid() != 0:
        raise LanError(
            "The LAN tests make network namespaces, which only root may. Run them with sudo, or "
            "(after `make setup`) as root of a user namespace: "
            "unshare --map-root-user --net --mount sh -c 'mount -t tmpfs tmpfs /run "
            "&& ip link set lo up && exec make test'"
        )


class Host:
    """One computer of the LAN. Made by :meth:`Lan.host`."""

    def __init__(self, lan: Lan, name: str, number: int) -> None:
        self.lan = lan
        self.name = name
        self.namespace = f"{lan.prefix}-{name}"
        self.address = f"{NETWORK}.{number}"
        self.port = f"p{number}"
        """The switch's end of this host's cable."""

    # --- processes --------------------------------------------------------------------

    def argv(self, *command: str | os.PathLike[str]) -> list[str]:
        """The command line that runs ``command`` on this host."""
        tie = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        inner = ["ip", "netns", "exec", self.namespace]
        return [*tie, *inner, *(os.fspath(word) for word in command)]

    def popen(
        self,
        *command: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a process on this host, in a process group of its own (pid = group id)."""
        return subprocess.Popen(
            self.argv(*command),
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        *command: str | os.PathLike[str],
        timeout: float = 30.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command on this host to its end; gives its stdout."""
        done = subprocess.run(
            self.argv(*command),
            env=None if env is None else {**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            words = " ".join(os.fspath(word) for word in command)
            raise LanError(
                f"`{words}` on {self.name} gave {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def pids(self) -> list[int]:
        """Every process that runs on this host."""
        return [int(word) for word in _ip("netns", "pids", self.namespace).split()]

    # --- the cable --------------------------------------------------------------------

    def unplug(self) -> None:
        """Take the cable out of the switch: nothing is told to anybody, frames just vanish."""
        _ip("-n", self.lan.switch, "link", "set", self.port, "nomaster")

    def plug(self, into: str = "br0") -> None:
        """Put the cable (back) into a bridge device of the switch."""
        _ip("-n", self.lan.switch, "link", "set", self.port, "master", into)

    def link_down(self) -> None:
        """Take the switch's end of the cable down: this host has no carrier, the others nothing."""
        _ip("-n", self.lan.switch, "link", "set", self.port, "down")

    def link_up(self) -> None:
        """The end of :meth:`link_down`."""
        _ip("-n", self.lan.switch, "link", "set", self.port, "up")

    def block_multicast(self) -> None:
        """The switch passes no multicast on to this host, as many access points: no mDNS here.

        For as long as the cable is where it is. What is broadcast (ARP) still comes.
        """
        words = ("type", "bridge_slave", "mcast_flood", "off")
        _ip("-n", self.lan.switch, "link", "set", self.port, *words)

    def shun(self, other: Host) -> None:
        """What this host sends that one vanishes, but for what is meant for all (multicast)."""
        words = (other.address, "dev", "eth0", "lladdr", "02:00:00:00:00:01", "nud", "permanent")
        _ip("-n", self.namespace, "neigh", "replace", *words)

    def stop_shunning(self, other: Host) -> None:
        """The end of :meth:`shun`."""
        _ip("-n", self.namespace, "neigh", "del", other.address, "dev", "eth0")

    def slow_down(self, kilobits: int) -> None:
        """Let it send so many kilobits a second only, as on a bad Wi-Fi; 0: as fast as before."""
        words = ["root", "tbf", "rate", f"{kilobits}kbit", "burst", "16kb", "latency", "400ms"]
        if kilobits:
            self.run("tc", "qdisc", "replace", "dev", "eth0", *words)
        else:
            self.run("tc", "qdisc", "del", "dev", "eth0", "root", check=False)

    # --- sockets ----------------------------------------------------------------------

    def new_socket(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket that lives on this host, for use in this process.

        A thread enters the namespace, makes the socket and ends: a socket stays in the
        namespace in which it was made, and only that thread ever left ours.
        """
        made: list[socket.socket] = []
        failed: list[OSError] = []

        def make() -> None:
            try:
                with Path("/run/netns", self.namespace).open("rb") as handle:
                    os.setns(handle.fileno(), os.CLONE_NEWNET)
                made.append(socket.socket(socket.AF_INET, kind))
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if failed:
            raise LanError(f"No socket on {self.name}: {failed[0]}")
        return made[0]

    def connect(self, address: str, port: int, timeout: float = 5.0) -> socket.socket:
        """A TCP connection from this host."""
        made = self.new_socket()
        made.settimeout(timeout)
        try:
            made.connect((address, port))
        except OSError:
            made.close()
            raise
        return made


class Lan:
    """A switch and its hosts. A context manager; :meth:`close` removes everything."""

    def __init__(self) -> None:
        check_possible()
        self.prefix = f"ft{secrets.token_hex(3)}"
        self.switch = f"{self.prefix}-switch"
        self.hosts: dict[str, Host] = {}
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        """For whatever belongs to this LAN's lifetime: wrappers, profiles, sockets."""
        self._closed = False
        self._bridges: list[str] = []
        atexit.register(self.close)
        try:
            _ip("netns", "add", self.switch)
            self._bridge("br0")
        except LanError as error:
            self.close()
            raise LanError(
                f"This machine does not allow network namespaces with a bridge device: {error}"
            ) from None

    def _bridge(self, name: str) -> None:
        if name not in self._bridges:
            _ip("-n", self.switch, "link", "add", name, "type", "bridge", "mcast_snooping", "0")
            _ip("-n", self.switch, "link", "set", name, "up")
            self._bridges.append(name)

    def host(self, name: str) -> Host:
        """The host of that name, made and plugged in when there is none yet."""
        if name in self.hosts:
            return self.hosts[name]
        host = Host(self, name, len(self.hosts) + 1)
        namespace = host.namespace
        _ip("netns", "add", namespace)
        self.hosts[name] = host
        _ip(
            *("link", "add", host.port, "netns", self.switch, "type", "veth"),
            *("peer", "name", "eth0", "netns", namespace),
        )
        host.plug()
        _no_dad(namespace)
        _ip("-n", self.switch, "link", "set", host.port, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", namespace, "route", "add", "224.0.0.0/4", "dev", "eth0")
        _ip("-n", namespace, "route", "add", "default", "via", NOBODY)
        return host

    def partition(self, *groups: Iterable[Host]) -> None:
        """Hosts of one group reach each other only. Hosts in no group are unplugged."""
        members = [list(group) for group in groups]
        named = {host.name for group in members for host in group}
        for number, group in enumerate(members):
            self._bridge(f"br{number}")
            for host in group:
                host.plug(f"br{number}")
        for host in self.hosts.values():
            if host.name not in named:
                host.unplug()

    def heal(self) -> None:
        """One LAN again."""
        for host in self.hosts.values():
            host.plug()

    def close(self) -> None:
        """Stop what still runs in our namespaces, then delete these."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        existing = {line.split()[0] for line in _ip("netns", "list").splitlines() if line.split()}
        names = (self.switch, *(host.namespace for host in self.hosts.values()))
        ours = [name for name in names if name in existing]
        _stop(ours)
        for name in ours:
            _ip("netns", "delete", name)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Lan:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _no_dad(namespace: str) -> None:
    """IPv6 without duplicate address detection (RFC 4862, section 5.4).

    It takes a second or two, and a browser that has begun to load by then fails its requests with
    ERR_NETWORK_CHANGED when the address is there. Where it cannot be switched off it stays.
    """
    setting = "/proc/sys/net/ipv6/conf/eth0/accept_dad"
    with contextlib.suppress(LanError):
        _ip("netns", "exec", namespace, "sh", "-c", f"echo 0 > {setting}")


def _pids(namespaces: Sequence[str]) -> list[int]:
    return [int(word) for name in namespaces for word in _ip("netns", "pids", name).split()]


def _stop(namespaces: Sequence[str]) -> None:
    """SIGTERM, a little patience, SIGKILL, until nothing runs there any more."""
    for pid in _pids(namespaces):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for pids in _until_empty(namespaces):
        if time.monotonic() > deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _until_empty(namespaces: Sequence[str]) -> Iterator[list[int]]:
    """What still runs there, every 50 ms, until nothing does (or 10 s passed)."""
    end = time.monotonic() + 10.0
    while (pids := _running(_pids(namespaces))) and time.monotonic() < end:
        yield pids
        time.sleep(0.05)


def _running(pids: Iterable[int]) -> list[int]:
    """Without our own children that have ended but were not waited for."""
    left = []
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[0] != "Z":
            left.append(pid)
    return left
