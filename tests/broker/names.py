"""A name server and a TCP server on loopback, for tests that connect."""

import contextlib
import ipaddress
import socket
import struct
import threading


class Names:
    """Answers for the names in `table`: name -> addresses, or a list of such lists, one for each time it is asked; not at
    all for those in `silent`."""

    def __init__(self):
        self.table, self.silent, self.asked = {}, set(), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.run, daemon=True)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.socket.getsockname()[1]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        # A datagram to itself ends the wait; closing alone would not.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def run(self):
        while True:
            query, peer = self.socket.recvfrom(512)
            if not query:
                return
            if answer := self.answer(query):
                self.socket.sendto(answer, peer)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack_from("!H", query, at + 1)[0]
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        if name in self.silent:
            return b""
        known = self.table.get(name)
        if known and isinstance(known[0], list):
            known = known[min(len(known), sum(n == name and k == kind for n, k in self.asked)) - 1]
        wanted = [ipaddress.ip_address(a).packed for a in known or ()]
        wanted = [a for a in wanted if len(a) == {1: 4, 28: 16}.get(kind)]
        head = query[:2] + struct.pack("!HHHHH", 0x8580 if known else 0x8583, 1, len(wanted), 0, 0)
        return head + query[12:at + 5] + b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 1, len(a)) + a for a in wanted)


@contextlib.contextmanager
def serving(handle, address="127.0.0.1"):
    """A TCP server: handle(connection) on a thread for each; gives its port."""
    listening = socket.create_server((address, 0))

    def one(connection):
        with connection, contextlib.suppress(OSError):
            handle(connection)

    def run():
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
