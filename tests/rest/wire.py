"""HTTP as bytes: what a client library would hide is what is tested here."""

import http.client
import json
import socket

TOKEN = "0123456789abcdef" * 4


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["error"]["code"]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=20):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def request(connection, method, target, body=None, token=None, headers=()):
    """One request on an open http.client connection, which may be used again."""
    sent = dict(headers)
    if token:
        sent["Authorization"] = f"Bearer {token}"
    if isinstance(body, str):
        body = body.encode()
    connection.request(method, target, body, sent)
    answer = connection.getresponse()
    return Reply(answer.status, answer.headers, answer.read())


def address(url):
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return host.strip("[]"), int(port)


def dial(url, timeout=20):
    return socket.create_connection(address(url), timeout)


def read_reply(sock, method="POST"):
    """One answer from a raw socket; None when the server closed without one."""
    answer = http.client.HTTPResponse(sock, method=method)
    try:
        answer.begin()
    except (http.client.BadStatusLine, ConnectionResetError):
        return None
    return Reply(answer.status, answer.headers, answer.read())


def raw(url, data, method="POST"):
    with dial(url) as sock:
        sock.sendall(data)
        return read_reply(sock, method)
