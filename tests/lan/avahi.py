"""Avahi on a host of the LAN: an mDNS implementation that nobody here wrote.

``avahi-browse`` asks ``avahi-daemon``, which it finds on the system's D-Bus. Each host gets a bus
of its own (``DBUS_SYSTEM_BUS_ADDRESS``) and a private ``/run/avahi-daemon``, so it works beside
whatever runs on the machine, and in a container without any init system.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.lan.lan import Host, LanError

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
  </policy>
</busconfig>
"""

DAEMON = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=no
allow-interfaces=eth0
[publish]
publish-hinfo=no
publish-workstation=no
[rlimits]
"""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One resolved line of ``avahi-browse --parsable``."""

    instance: str
    service_type: str
    host_name: str
    address: str
    port: int
    txt_record: dict[str, str] = field(default_factory=dict)


class Avahi:
    """The daemon of one host, for as long as the LAN lives."""

    def __init__(self, host: Host) -> None:
        for tool in ("avahi-daemon", "avahi-browse", "dbus-daemon"):
            if shutil.which(tool) is None:
                raise LanError(
                    f"The mDNS tests need {tool} "
                    "(Debian and Ubuntu: apt install avahi-daemon avahi-utils dbus)."
                )
        self.host = host
        directory = Path(tempfile.mkdtemp(prefix="avahi-", dir=host.lan.directory))
        bus = directory / "bus"
        self._env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
        (directory / "bus.conf").write_text(BUS.format(socket=bus))
        (directory / "avahi.conf").write_text(DAEMON.format(name=host.name))
        self._log = (directory / "log").open("w+")
        self._processes = [
            host.popen(
                *(
                    "dbus-daemon",
                    f"--config-file={directory / 'bus.conf'}",
                    "--nofork",
                    "--nopidfile",
                ),
                stdout=self._log.fileno(),
                stderr=self._log.fileno(),
            )
        ]
        self._wait(bus.exists, "its D-Bus did not start")
        # The daemon gives its directory to its own user, which a user namespace may not know.
        (directory / "passwd").write_text("root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/false\n")
        (directory / "group").write_text("root:x:0:\navahi:x:0:\n")
        own_run = (
            "mkdir -p /run/avahi-daemon && mount -t tmpfs tmpfs /run/avahi-daemon"
            f" && mount --bind {directory / 'passwd'} /etc/passwd"
            f" && mount --bind {directory / 'group'} /etc/group"
        )
        daemon = (
            f"avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {directory / 'avahi.conf'}"
        )
        self._processes.append(
            host.popen(
                *("unshare", "--mount", "sh", "-c", f"{own_run} && exec {daemon}"),
                env=self._env,
                stdout=self._log.fileno(),
                stderr=self._log.fileno(),
            )
        )
        self._wait(self._answers, "avahi-daemon did not start")

    def _answers(self) -> bool:
        return "avahi" in self.host.run("avahi-browse", "--version", check=False) and bool(
            self.host.run(
                *("avahi-resolve", "--name", f"{self.host.name}.local"), check=False, env=self._env
            )
        )

    def _wait(self, done: object, what: str) -> None:
        assert callable(done)
        deadline = time.monotonic() + 15
        while not done():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self._processes):
                self._log.seek(0)
                raise LanError(f"On {self.host.name} {what}: {self._log.read()}")
            time.sleep(0.05)

    def browse(self, service_type: str) -> list[Service]:
        """Everything of that type on the LAN now (``avahi-browse --resolve --terminate``)."""
        said = self.host.run(
            *("avahi-browse", "--parsable", "--resolve", "--terminate", service_type),
            env=self._env,
        )
        return list(_parse(said))

    def resolve(self, name: str) -> str | None:
        """The IPv4 address of a ``.local`` name."""
        said = self.host.run("avahi-resolve", "-4", "--name", name, check=False, env=self._env)
        return said.split()[1] if len(said.split()) == 2 else None

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()


def _parse(said: str) -> Iterator[Service]:
    r"""Lines ``=;eth0;IPv4;Name;_type._tcp;local;host.local;192.0.2.1;80;"k=v" "k=v"``.

    Special characters in the name come as ``\DDD`` (decimal bytes).
    """
    for line in said.splitlines():
        if not line.startswith("="):
            continue
        parts = line.split(";", 9)
        txt: dict[str, str] = {}
        for item in parts[9].strip().strip('"').split('" "') if parts[9].strip() else []:
            key, _, value = item.partition("=")
            txt[key] = value
        yield Service(
            instance=_unescape(parts[3]),
            service_type=parts[4],
            host_name=parts[6],
            address=parts[7],
            port=int(parts[8]),
            txt_record=txt,
        )


def _unescape(text: str) -> str:
    made = bytearray()
    position = 0
    while position < len(text):
        if text[position] == "\\" and text[position + 1 : position + 4].isdigit():
            made.append(int(text[position + 1 : position + 4]))
            position += 4
        elif text[position] == "\\":
            made += text[position + 1].encode()
            position += 2
        else:
            made += text[position].encode()
            position += 1
    return made.decode("utf-8", "replace")
