"""A home of the test's own, with or without a server that holds it."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

from pytest import fail

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Done:
    def __init__(self, arguments, status, out, err):
        self.arguments, self.status, self.out, self.err = arguments, status, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def failure(self):
        """The failure document of --json: one line on standard error."""
        assert self.err.count("\n") == 1, self.err
        document = json.loads(self.err)
        assert document["success"] is False
        assert set(document["error"]) == {"code", "message", "id", "detail"}
        assert len(document["error"]["id"]) == 32
        return document["error"]

    def __repr__(self):
        return f"moat {' '.join(self.arguments)}\nstatus {self.status}\n{self.out}\n{self.err}"


class Place:
    def __init__(self, build, root):
        self.build = build
        self.root = pathlib.Path(root)
        self.home = self.root / "home"
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ("MOAT_HOME", "PLUGIN_DIR", "REGISTRY_DIR", "MOAT_LIBEXEC", "SOURCE_DATE_EPOCH")}
        self.env["MOAT_HOME"] = str(self.home)
        self.server = None

    def start(self, *arguments, **options):
        return subprocess.Popen([self.build / "moat", *map(str, arguments)], env=self.env, cwd=self.root, text=True,
                                stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                                stderr=options.pop("stderr", subprocess.PIPE), **options)

    def moat(self, *arguments, input=None, timeout=60):
        """Runs it, whatever it says."""
        p = self.start(*arguments, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        try:
            out, err = p.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            p.kill()
            fail(f"moat {arguments} did not end")
        return Done([str(a) for a in arguments], p.returncode, out, err)

    def good(self, *arguments, **options):
        done = self.moat(*arguments, **options)
        assert done.status == 0, done
        return done

    def bad(self, status, code, *arguments, **options):
        """Fails with this exit status and one line for people, and with --json with this code."""
        done = self.moat(*arguments, **options)
        assert done.status == status, done
        assert done.out == "", done
        assert done.err.startswith("moat: ") and done.err.count("\n") == 1 and len(done.err) > 10, done
        again = self.moat(*arguments, "--json", **options)
        assert again.status == status and again.out == "", again
        assert again.failure["code"] == code, again
        return done

    # ---- a server ----

    def serve(self, *arguments, **options):
        self.server = self.start("serve", "--listen", "127.0.0.1:0", "--json", *arguments, **options)
        line = self.server.stdout.readline()
        assert line, self.server.stderr.read()
        self.ready = json.loads(line)
        return self.ready

    def end_server(self, how=signal.SIGTERM):
        if not self.server:
            return None
        self.server.send_signal(how)
        out, err = self.server.communicate(timeout=60)
        status, self.server = self.server.returncode, None
        return status, out, err

    def close(self):
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGCONT)
            assert self.end_server()[0] == 0

    # ---- things in it ----

    def trust(self, publisher="demo", key=None, *more):
        self.good("trust", "add", publisher, key or self.build / "packages" / "demo.pub", *more)

    def package(self, name):
        for folder in ("packages", "packages-test"):
            for found in (self.build / folder).glob(f"{name}-*.moat"):
                return found
        fail(f"no package of {name} in {self.build}")

    def have(self, name):
        """Trusts the build's key and installs one of its packages."""
        self.trust()
        self.good("install", self.package(name))

    # ---- versions of a plugin ----

    def key(self, publisher="acme"):
        """A publisher of the test's own, trusted in this home; its secret key."""
        path = self.root / f"{publisher}.key"
        if not path.exists():
            self.good("keygen", path)
            self.trust(publisher, f"{path}.pub")
        return path

    def pack(self, version="1.0.0", name="alpha", publisher="acme", only=("echo", "count", "sleep", "note", "book"),
             plugin="echo", **changes):
        """A package of a test plugin with another manifest; `descriptions` maps actions to what they say."""
        manifest = json.loads((ROOT / "tests" / "plugins" / plugin / "plugin.json").read_text())
        manifest.update(name=name, version=version)
        manifest["actions"] = [a for a in manifest["actions"] if a["name"] in only]
        for action, text in changes.pop("descriptions", {}).items():
            next(a for a in manifest["actions"] if a["name"] == action)["description"] = text
        manifest.update(changes)
        source = self.root / "pack" / f"{name}-{version}"
        source.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.build / "tests" / "plugins" / f"{plugin}.so", source / f"{plugin}.so")
        (source / "plugin.json").write_text(json.dumps(manifest) + "\n")  # as editors write files
        made = self.root / f"{name}-{version}.moat"
        self.good("pack", source, "--key", self.key(publisher), "-o", made)
        return made

    def install(self, version="1.0.0", *options, **changes):
        return self.good("install", self.pack(version, **changes), "--json", *options).json

    def result(self, *arguments, **options):
        return self.good(*arguments, "--json", **options).json
