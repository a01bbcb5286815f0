"""HTTP as bytes: what a client library would hide is what is tested here."""

import http.client
import json
import socket
import subprocess
import time

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
    host, port = url.split("://")[1].rsplit(":", 1)
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


class Rig:
    """The server of http_rig, which does what its lines say."""

    def __init__(self, build, home, listen="127.0.0.1:0", **options):
        self.home = home
        more = [f"{name}={value}" for name, value in options.items()]
        self.socket = home / "registry" / "moat.sock"
        self.process = subprocess.Popen([build / "tests" / "rest" / "http_rig", home, listen, *more],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(home.parent / "log", "w"), text=True)
        self.url = self.process.stdout.readline().strip()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def until(self, line, wanted):
        end = time.monotonic() + 20
        while self.tell(line) != wanted:
            assert time.monotonic() < end, f"{line} never said {wanted}"
            time.sleep(0.01)

    def connect(self):
        return http.client.HTTPConnection(*address(self.url), timeout=20)

    def ask(self, method, target, body=None, token=TOKEN, headers=()):
        connection = self.connect()
        try:
            return request(connection, method, target, body, token, headers)
        finally:
            connection.close()

    def call(self, body="{}", **more):
        return self.ask("POST", "/api/plugins/execute/a/b", body, **more)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0


AUTH = f"Authorization: Bearer {TOKEN}\r\n"


def head(rig, method="POST", target="/api/plugins/execute/a/b", more="", version="1.1"):
    host, port = address(rig.url)
    return f"{method} {target} HTTP/{version}\r\nHost: {host}:{port}\r\n{more}\r\n".encode()
