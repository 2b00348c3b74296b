"""The fixture itself: hosts reach each other, cables can be pulled, nothing is left behind."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lan.avahi import Avahi
from tests.lan.lan import NETWORK, Host, Lan, LanError, check_possible

pytestmark = pytest.mark.lan

ECHO = """
import socket
server = socket.create_server(("0.0.0.0", 7007))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello from " + connection.getsockname()[0].encode())
    connection.close()
"""


@contextlib.contextmanager
def _running(host: Host, *command: str, says: str) -> Iterator[None]:
    """A process on a host that has said that it is up; killed at the end."""
    with host.popen(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{says}\n"
        try:
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def _serving(lan: Lan, name: str) -> Iterator[None]:
    with _running(lan.host(name), sys.executable, "-c", ECHO, says="listening"):
        yield


def _ask(lan: Lan, asker: str, server: str, timeout: float = 2.0) -> bytes:
    with lan.host(asker).connect(lan.host(server).address, 7007, timeout) as connection:
        return connection.recv(100)


def test_hosts_reach_each_other_and_the_machine_itself_sees_nothing(lan: Lan) -> None:
    before = socket.if_nameindex()
    with _serving(lan, "laptop"):
        assert _ask(lan, "phone1", "laptop") == b"hello from " + lan.host("laptop").address.encode()
        assert lan.host("laptop").address.startswith(NETWORK)
        assert socket.if_nameindex() == before  # no cable ends in the machine's own network


def test_unplugging_cuts_an_open_connection_silently_and_plugging_heals_it(lan: Lan) -> None:
    with _serving(lan, "laptop"):
        phone = lan.host("phone1")
        assert _ask(lan, "phone1", "laptop")
        phone.unplug()
        with pytest.raises(TimeoutError):
            _ask(lan, "phone1", "laptop", timeout=0.5)
        assert _ask(lan, "phone2", "laptop")
        phone.plug()
        assert _ask(lan, "phone1", "laptop")


def test_a_partition_keeps_groups_apart(lan: Lan) -> None:
    with _serving(lan, "laptop"):
        laptop, one, two = (lan.host(name) for name in ("laptop", "phone1", "phone2"))
        lan.partition([laptop, one], [two])
        assert _ask(lan, "phone1", "laptop")
        with pytest.raises(TimeoutError):
            _ask(lan, "phone2", "laptop", timeout=0.5)
        lan.heal()
        assert _ask(lan, "phone2", "laptop")


def test_there_is_no_way_out_of_the_lan(lan: Lan) -> None:
    links = lan.host("phone1").run("ip", "-o", "link", "show")
    names = [line.split(":")[1].strip().split("@")[0] for line in links.splitlines()]
    assert sorted(names) == ["eth0", "lo"]


def test_closing_ends_every_process_and_namespace_of_it_and_no_other() -> None:
    other = Lan()
    bystander = other.host("bystander").popen("sleep", "300")
    with Lan() as lan:
        stubborn = lan.host("laptop").popen(
            "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done", stdout=subprocess.PIPE
        )
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == "up\n"
        names = [lan.switch, lan.host("laptop").namespace]
        directory = lan.directory
        stubborn.stdout.close()
    assert stubborn.wait(1) != 0
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert not any(name in left.stdout for name in names)
    assert not directory.exists()
    assert bystander.poll() is None
    other.close()
    assert bystander.wait(1) != 0


def test_without_the_tools_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LanError, match="iproute2"):
        check_possible()


PUBLISH = """
import asyncio, socket, sys
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

async def main():
    zeroconf = AsyncZeroconf(interfaces=[sys.argv[1]])
    info = ServiceInfo("_flyweb._tcp.local.", "Frage & Antwort._flyweb._tcp.local.", port=8765,
        addresses=[socket.inet_aton(sys.argv[1])], server="probe.local.",
        properties={"path": "/", "term": "7"})
    await zeroconf.async_register_service(info)
    print("published", flush=True)
    await asyncio.Event().wait()  # until it is ended

asyncio.run(main())
"""


def test_avahi_on_another_host_sees_what_zeroconf_publishes(lan: Lan) -> None:
    laptop = lan.host("laptop")
    avahi = Avahi(lan.host("phone1"))
    with _running(laptop, sys.executable, "-c", PUBLISH, laptop.address, says="published"):
        (service,) = avahi.browse("_flyweb._tcp")
        assert service.instance == "Frage & Antwort"
        assert (service.address, service.port) == (laptop.address, 8765)
        assert service.txt_record == {"path": "/", "term": "7"}
        assert avahi.resolve("probe.local") == laptop.address
    avahi.close()


def test_a_host_without_multicast_finds_nobody_by_name_and_is_reached_by_address(
    lan: Lan,
) -> None:
    deaf = lan.host("deaf")
    hearing, silent = Avahi(lan.host("phone1")), Avahi(deaf)
    assert silent.resolve("phone1.local") == lan.host("phone1").address
    deaf.block_multicast()
    with _serving(lan, "deaf"):
        assert _ask(lan, "phone1", "deaf")
    laptop = lan.host("laptop")
    with _running(laptop, sys.executable, "-c", PUBLISH, laptop.address, says="published"):
        assert hearing.resolve("probe.local") == laptop.address
        assert silent.resolve("probe.local") is None
    hearing.close()
    silent.close()
