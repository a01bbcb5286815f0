"""Machines that are not this one: addresses beyond loopback, in a network namespace of the test's own, which no packet
leaves."""

import concurrent.futures
import ctypes
import os
import socket
import subprocess

import pytest

CLONE_NEWNET = 0x40000000


class Elsewhere:
    """Every address of 192.0.2.0/24 is there, to listen on and to come from, and those of IPv6 that are asked for."""

    def __init__(self):
        self.name = f"moat{os.getpid()}"
        if os.geteuid() != 0:
            pytest.skip("a network namespace with addresses of its own needs root")
        made = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
        self.path = f"/run/netns/{self.name}"
        self.inside = concurrent.futures.ThreadPoolExecutor(1, initializer=self.enter)

    def __enter__(self):
        self.ip("link", "set", "lo", "up")
        self.ip("addr", "add", "192.0.2.1/24", "dev", "lo")
        return self

    def __exit__(self, *_):
        self.inside.shutdown()
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def ip(self, *words):
        subprocess.run(["ip", "-n", self.name, *words], check=True)

    def enter(self):
        """The one thread that makes the sockets: they stay there, whoever uses them."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(self.path, encoding="ascii") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def with_ipv6(self, *addresses):
        if not os.path.exists("/proc/net/if_inet6"):
            pytest.skip("this machine has no IPv6")
        for address in addresses:
            self.ip("addr", "add", address, "dev", "lo", "nodad")

    def run(self, command):
        """The command, in there, with the same pid."""
        return ["nsenter", f"--net={self.path}", *command]

    def dial(self, source, address):
        return self.inside.submit(socket.create_connection, address, 20, (source, 0)).result()
