"""Somebody who stands where a PostgreSQL server is thought to be, and keeps what he is told."""

import socket
import ssl
import threading

ASKS_FOR_PASSWORD = b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big")  # in the clear


class Impostor:
    """`way`: "tls" shows a certificate, "none" says that there is no TLS, "deaf" asks for the password at once."""

    def __init__(self, way, certificate=None, key=None):
        self.way, self.told, self.failures = way, b"", []
        if way == "tls":
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, key)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(30)
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listening.close()
        self.thread.join(30)

    def serve(self):
        try:
            connection, _ = self.listening.accept()
            connection.settimeout(30)
            with connection:
                self.talk(connection)
        except OSError as e:  # of ssl, too
            self.failures.append(e)

    def hear(self, connection):
        piece = connection.recv(4096)
        self.told += piece
        return piece

    def talk(self, connection):
        first = self.hear(connection)
        if self.way == "tls":
            connection.sendall(b"S")
            connection = self.context.wrap_socket(connection, server_side=True)
            self.hear(connection)
        elif self.way == "none" and len(first) == 8:
            connection.sendall(b"N")
            self.hear(connection)
        connection.sendall(ASKS_FOR_PASSWORD)
        self.hear(connection)

    def all_told(self):
        """When the connection is over."""
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.told
