"""Hosts on one machine: network namespaces, joined by wires that can lose and delay packets in each direction.

The end of each wire is a TUN device whose packets this process passes on: kernels often lack netem, as that of CI does.
A namespace has no name, so that it ends with its last process and with this one.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

OWN = "/proc/thread-self/ns/net"
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LARGEST_PACKET = 2048
NETWORK = "10.77.0.0/24"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Wire:
    """What becomes of the packets in one direction: `loss` is the share that is lost, `delay` is in seconds."""

    loss: float = 0.0
    delay: float = 0.0


class Host:
    """A namespace with one address, or more: an address that moves from one host to another is on both."""

    def __init__(self, *addresses: str) -> None:
        self.address = addresses[0]
        self.sends, self.receives = Wire(), Wire()
        before = os.open(OWN, os.O_RDONLY)
        try:
            _call(_libc.unshare, CLONE_NEWNET)
            self._namespace = os.open(OWN, os.O_RDONLY)
            self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
            _ip("link", "set", "lo", "up")
            for address in addresses:
                _ip("address", "add", f"{address}/24", "dev", "wire")
            _ip("link", "set", "wire", "up")
        finally:
            _call(_libc.setns, before, CLONE_NEWNET)
            os.close(before)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread starts and connects meanwhile is on this host."""
        before = os.open(OWN, os.O_RDONLY)
        _call(_libc.setns, self._namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            _call(_libc.setns, before, CLONE_NEWNET)
            os.close(before)

    def cut_off(self) -> None:
        """Lose all packets, in both directions."""
        self.sends.loss = self.receives.loss = 1.0

    def mend(self) -> None:
        self.sends, self.receives = Wire(), Wire()

    def close(self) -> None:
        os.close(self.device)
        os.close(self._namespace)


class Network:
    """Passes packets from wire to wire, in a thread, until its end."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._by_address: dict[bytes, Host] = {}
        self._by_device: dict[int, Host] = {}
        self._poll = select.epoll()
        self._delayed: list[tuple[float, int, Host, bytes]] = []
        self._passed = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="network")

    def host(self, *addresses: str) -> Host:
        """A new host. Packets for an address that another one has go on to that one; see `move`."""
        host = Host(*addresses)
        self._hosts.append(host)
        self._by_device[host.device] = host
        for address in addresses:
            self._by_address.setdefault(socket.inet_aton(address), host)
        self._poll.register(host.device, select.EPOLLIN)
        return host

    def move(self, address: str, host: Host) -> None:
        """Lead an address to another host, as a failover does."""
        self._by_address[socket.inet_aton(address)] = host

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._poll.close()
        for host in self._hosts:
            host.close()

    def _run(self) -> None:
        while not self._ends.is_set():
            wait = self._delayed[0][0] - time.monotonic() if self._delayed else 0.1
            for device, _ in self._poll.poll(min(max(wait, 0.0), 0.1)):
                self._read(self._by_device[device])
            while self._delayed and self._delayed[0][0] <= time.monotonic():
                _, _, host, packet = heapq.heappop(self._delayed)
                _write(host, packet)

    def _read(self, sender: Host) -> None:
        with suppress(BlockingIOError):
            while True:
                packet = os.read(sender.device, LARGEST_PACKET)
                receiver = self._by_address.get(packet[16:20]) if packet[0] >> 4 == 4 else None
                if receiver is not None:
                    self._pass_on(sender.sends, receiver, packet)

    def _pass_on(self, sent: Wire, receiver: Host, packet: bytes) -> None:
        received = receiver.receives
        if random.random() < sent.loss or random.random() < received.loss:
            return
        if delay := sent.delay + received.delay:
            # In their order where the delay is the same.
            self._passed += 1
            heapq.heappush(self._delayed, (time.monotonic() + delay, self._passed, receiver, packet))
        else:
            _write(receiver, packet)


def require_namespaces() -> None:
    """Skip a test where this machine makes no namespaces; in CI fail it."""
    lacking = None
    if shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        lacking = "iproute2 is not installed."
    elif os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        lacking = "Hosts of network namespaces need root and /dev/net/tun."
    if lacking and os.environ.get("CI"):
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)


def _write(host: Host, packet: bytes) -> None:
    # A queue that is full loses packets, as that of any wire.
    with suppress(BlockingIOError):
        os.write(host.device, packet)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, env={"PATH": f"{os.defpath}:/usr/sbin:/sbin"})


def _call(function: "ctypes._NamedFuncPointer", *arguments: int) -> None:
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
