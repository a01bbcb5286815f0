"""Where the attacks take place: a server with a home of its own, two granted directories, a secret beside them, and a
neighbour that must not notice anything.

Three settings: `root`, `user` (nobody), `container`: the root of a user namespace that nobody made, with a single id."""

import ctypes
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

NOBODY = 65534
SECRET = "this is the secret\n"
PROGRAMS = ["moat", "moat-worker", "moat-helper", "tests/plugins/plugin_run", "tests/containment/attacker.so"]
PACKAGES = {"packages": ["data_processor-1.0.0", "demo.pub"], "packages-test": ["attacker-1.0.0"]}


class Scene:
    """Files as they are before any attack. What lies outside the grants must be the same afterwards."""

    def __init__(self, place, user):
        self.place = place
        self.read, self.write, self.secret = place / "read", place / "write", place / "secret"
        for directory in (place, self.read, self.write, self.write / "turn", place / "turned"):
            directory.mkdir(exist_ok=True)
        for path, text in ((self.secret, SECRET), (self.read / "file", "to be read\n"), (self.read / "empty", "not empty\n"),
                           (self.read / "script", "#!/bin/sh\nexit 242\n"), (place / "turned" / "secret", "nothing\n")):
            path.write_text(text)
        (self.read / "script").chmod(0o755)
        (self.write / "to_file").symlink_to(self.secret)
        (self.write / "to_dir").symlink_to(place)
        (self.write / "turn" / "nothing").write_text("")
        (place / "away").symlink_to(place)
        if os.geteuid() == 0:
            os.mknod(self.write / "device", 0o20666, os.makedev(1, 3))
            os.chmod(self.write / "device", 0o666)
        if user:
            for path in (place, *place.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        self.before = self.look()

    def look(self):
        """All that an attack must not change: everything but the inside of the writable directory."""
        paths = [self.place, self.secret, self.read, *sorted(self.read.iterdir())]
        seen = {p.name: p.lstat() for p in paths}
        return {name: (st.st_mode, st.st_uid, st.st_gid, st.st_size if not os.path.isdir(self.place / name) else 0,
                       st.st_ino, st.st_mtime_ns if name != self.place.name else 0)
                for name, st in seen.items()} | {"text": self.secret.read_text() + (self.read / "file").read_text()}

    def set_id_files(self):
        return [p for p in self.write.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o6000]


class Swapper:
    """Exchanges the writable directory's "turn" with a link to the secret's directory, as fast as it can."""

    def __init__(self, scene):
        self.names = [os.fsencode(scene.write / "turn"), os.fsencode(scene.place / "away")]
        self.stop = threading.Event()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.thread = threading.Thread(target=self.run)

    def run(self):
        swaps = 0
        while not self.stop.is_set() or swaps % 2:
            self.libc.renameat2(-100, self.names[0], -100, self.names[1], 2)
            swaps += 1

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def copy_programs(build, to):
    for name in PROGRAMS:
        shutil.copy(build / name, to / pathlib.Path(name).name)
    for folder, names in PACKAGES.items():
        for name in names:
            file = name if name.endswith(".pub") else f"{name}.moat"
            shutil.copy(build / folder / file, to / file)


class Place:
    """A directory that anybody can reach, and not in /tmp: a plugin has one of its own."""

    def __init__(self, build, setting):
        self.setting, self.user = setting, setting not in ("root", "fallback_root") and os.geteuid() == 0
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="moat-containment-", dir="/var/tmp"))
        self.path.chmod(0o755)
        copy_programs(build, self.path)
        self.scene = Scene(self.path / "scene", self.user)
        if setting == "fallback_root":  # nothing maps root's files to a worker: it has the rights of others
            self.scene.write.chmod(0o777)
        self.victim = self.start(["sleep", "600"])

    def as_user(self):
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if self.user else {}

    def start(self, words, **more):
        return subprocess.Popen(words, **self.as_user(), **more)

    def parameters(self, attack, port=0, pid=None, sibling=None):
        scene = self.scene
        pid = pid or self.victim.pid
        given = {"name": attack.name, "path": str(scene.secret), "secret": str(scene.secret), "read": str(scene.read),
                 "write": str(scene.write), "port": port, "pid": pid, "sibling": sibling or self.victim.pid}
        return given | attack.more

    def end(self):
        self.victim.kill()
        self.victim.wait()
        shutil.rmtree(self.path)


class Outside(Place):
    """The control: the same plugin, loaded by a plain process of the same user."""

    def run(self, attack, port, as_root=False):
        ours, theirs = socket.socketpair()
        directory = os.open("/", os.O_RDONLY)
        words = [str(self.path / "plugin_run"), str(self.path / "attacker.so")]
        if as_root:  # what it mounts is gone with it
            words = ["unshare", "--mount", "--propagation", "private", *words]
        more = {} if as_root else self.as_user()

        def three():
            os.dup2(theirs.fileno(), 3)

        with tempfile.TemporaryFile() as errors:
            line = f"attack\t{json.dumps(self.parameters(attack, port))}\n"
            done = subprocess.run(words, input=line.encode(), stdout=subprocess.PIPE, stderr=errors, preexec_fn=three,
                                  pass_fds=[3, directory], cwd="/", timeout=120, env={"HOME": "/", "A_SECRET": "x"}, **more)
        for end in (ours, theirs):
            end.close()
        os.close(directory)
        kind, _, rest = done.stdout.decode().partition("\t")
        return json.loads(rest) if kind == "ok" else {"ended": done.returncode, "succeeded": False, "said": rest}


class Inside(Place):
    """The server under test and its two plugins."""

    def __init__(self, build, setting, settings=(), start=True):
        super().__init__(build, setting)
        self.server = self.connection = self.log = None
        try:
            self.settle(settings)
            if start:
                self.serve()
        except BaseException:  # nobody else knows of it yet
            self.end(whatever=True)
            raise

    def settle(self, settings):
        """A home with both plugins in it."""
        self.home = self.path / "home"
        self.home.mkdir()
        if self.user:
            os.chown(self.home, NOBODY, NOBODY)
        self.env = {k: v for k, v in os.environ.items() if k not in ("PLUGIN_DIR", "REGISTRY_DIR")}
        self.env |= {"MOAT_HOME": str(self.home), "A_SECRET_OF_THE_HOST": "not for plugins"}
        for key, value in settings:
            self.moat("settings", "set", key, value)
        self.moat("trust", "add", "demo", self.path / "demo.pub")
        self.moat("install", self.path / "data_processor-1.0.0.moat")
        self.moat("install", self.path / "attacker-1.0.0.moat", "--grant", f"file_read={self.scene.read}",
                  "--grant", f"file_write={self.scene.write}")

    def serve(self):
        self.log = (self.path / "log").open("w+")
        self.server = subprocess.Popen([*self.around(), self.path / "moat", "serve", "--listen", "127.0.0.1:0"],
                                       env=self.env, stderr=self.log, stdout=self.log, preexec_fn=self.within(),
                                       **self.as_user())
        self.connection, self.token = self.connect()
        self.neighbour()

    def within(self):
        """What a child of ours does before it becomes a program: nothing, or it loses the right to user namespaces."""
        if self.setting == "mounts_refused":
            return self.refuse_mounts
        if self.setting not in ("fallback", "fallback_root"):
            return None
        ids = "0 0 4294967295" if self.setting == "fallback_root" else f"{NOBODY} {NOBODY} 1"
        libc = ctypes.CDLL(None, use_errno=True)

        def lose_user_namespaces():
            libc.prctl(4, 1, 0, 0, 0)  # dumpable again after the change of user, so that /proc/self is its own
            ready, told = os.pipe()
            me = os.getpid()
            writer = os.fork()  # stays outside, where the rights to map are
            if writer == 0:
                os.read(ready, 1)
                for name, text in (("setgroups", "deny" if self.user else "allow"), ("gid_map", ids), ("uid_map", ids)):
                    with open(f"/proc/{me}/{name}", "w") as file:
                        file.write(text)
                os._exit(0)
            if libc.unshare(0x10000000):
                raise OSError(ctypes.get_errno(), "unshare")
            os.write(told, b"g")
            if os.waitpid(writer, 0)[1]:
                raise OSError("the maps cannot be written")
            with open("/proc/sys/user/max_user_namespaces", "w") as file:
                file.write("0")

        return lose_user_namespaces

    @staticmethod
    def refuse_mounts():
        """As AppArmor does on some machines: namespaces can be made, and then nothing can be done in them."""
        libc = ctypes.CDLL(None, use_errno=True)
        code = struct.pack("HBBIHBBIHBBIHBBI", 0x20, 0, 0, 0, 0x15, 0, 1, 165,  # the call's number; is it mount?
                           0x06, 0, 0, 0x0005000D, 0x06, 0, 0, 0x7FFF0000)  # EACCES; any other is allowed
        text = ctypes.create_string_buffer(code)
        program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(text))
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0):
            raise OSError(ctypes.get_errno(), "seccomp")

    def around(self):
        return ["unshare", "--user", "--map-root-user"] if self.setting == "container" else []

    def moat(self, *words):
        done = subprocess.run([*self.around(), self.path / "moat", *map(str, words)], env=self.env, capture_output=True,
                              text=True, timeout=120, preexec_fn=self.within(), **self.as_user())
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def said(self):
        self.log.flush()
        return (self.path / "log").read_text()

    def connect(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = re.search(r'"url":"http://127.0.0.1:(\d+)"', self.said())
            token = re.search(r"shown this once: ([0-9a-f]+)", self.said()) or re.search(r'"admin_token":"(\w+)"', self.said())
            if found and token:
                return http.client.HTTPConnection("127.0.0.1", int(found.group(1)), timeout=60), token.group(1)
            assert self.server.poll() is None, self.said()
            time.sleep(0.02)
        raise AssertionError(f"the server does not say where it listens: {self.said()}")

    def ask(self, method, target, body=None, headers=(), connection=None):
        connection = connection or self.connection
        connection.request(method, target, json.dumps(body) if body is not None else None,
                                {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"} | dict(headers))
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())

    def call(self, plugin, action, parameters, deadline="20s", connection=None):
        """(200, result), or the status and the error."""
        status, said = self.ask("POST", f"/api/plugins/execute/{plugin}/{action}", parameters, {"Moat-Deadline": deadline},
                                connection)
        return status, said["result"] if status == 200 else said["error"]

    def another(self):
        """A connection of one's own, for another thread."""
        return http.client.HTTPConnection("127.0.0.1", self.connection.port, timeout=60)

    def neighbour(self, connection=None):
        """The other plugin works on; how long it took, in ms."""
        before = time.monotonic()
        status, said = self.call("data_processor", "transform", {"data": [1, 2, 3], "operation": "multiply", "factor": 2},
                                 connection=connection)
        assert (status, said) == (200, [2, 4, 6]), said
        return (time.monotonic() - before) * 1000

    def warm(self):
        """The attacker runs, and its constructor's events have been counted."""
        status, said = self.call("attacker", "attack", {"name": "reported_values"})
        assert status == 200, said

    def info(self, plugin="attacker"):
        return self.ask("GET", f"/api/plugins/info/{plugin}")[1]["result"]

    def denials(self):
        """{(operation, permission): count}"""
        found = {}
        for d in self.ask("GET", "/api/plugins/info/attacker/denials")[1]["result"]["denials"]:
            key = (d["operation"], d["permission"])
            found[key] = found.get(key, 0) + d["count"]
            assert (d["command"] is not None) == (d["permission"] is not None), d
            assert d["command"] is None or d["command"].startswith("moat grant attacker "), d
        return found

    def workers(self):
        """Process ids of living workers, by the server's descendants."""
        parents = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    stat = pathlib.Path(entry.path, "stat").read_text()
                except OSError:
                    continue
                parents[int(entry.name)] = (int(stat.rpartition(")")[2].split()[1]), stat.partition("(")[2].rpartition(")")[0])
        def below(pid):
            while pid in parents:
                if pid == self.server.pid:
                    return True
                pid = parents[pid][0]
            return False
        return sorted(pid for pid, (_, name) in parents.items() if name == "moat-worker" and below(pid))

    def end(self, whatever=False):
        if self.connection:
            self.connection.close()
        status = 0
        if self.server:
            self.server.send_signal(signal.SIGTERM)
            status = self.server.wait(60)
            self.log.close()
        super().end()
        assert whatever or status == 0
