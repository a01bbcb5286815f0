"""An author with a compiler: makes the files of a plugin, its manifest and its package, in a home that trusts him."""

import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Author:
    def __init__(self, place, name):
        self.place, self.name = place, name
        self.dir = place.root / name
        self.dir.mkdir()
        self.key = place.root / "author"
        if not self.key.exists():
            place.good("keygen", self.key)
            place.trust("author", place.root / "author.pub")
        self.manifest()

    def cc(self, out, source, *more, shared=True):
        """source: a file, or the text of one in C."""
        path = source
        if isinstance(source, str):
            path = self.place.root / f"{self.name}_{pathlib.Path(out).name}.c"
            path.write_text(source)
        target = self.dir / out
        target.parent.mkdir(parents=True, exist_ok=True)
        command = ["g++" if str(path).endswith(".cc") else "gcc", "-O1", "-fPIC", "-I", ROOT / "include", "-o", target,
                   path, *(["-shared"] if shared else []), *more]
        done = subprocess.run(list(map(str, command)), cwd=self.dir, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return target

    def library(self, out, source, *more, soname=None):
        return self.cc(out, source, *more, f"-Wl,-soname,{soname or out}")

    def entry(self, source, *more):
        return self.cc(self.name + ".so", source, *more)

    def file(self, path, content):
        (self.dir / path).parent.mkdir(parents=True, exist_ok=True)
        (self.dir / path).write_bytes(content)

    def manifest(self, **changes):
        good = {"moat": 1, "name": self.name, "version": "1.0.0", "engine": "native", "entry": self.name + ".so",
                "capabilities": ["custom"], "actions": [{"name": "run"}]}
        (self.dir / "plugin.json").write_text(json.dumps({**good, **changes}, indent=2))

    def try_pack(self):
        return self.place.moat("pack", self.dir, "--key", self.key)

    def pack(self):
        done = self.try_pack()
        assert done.status == 0, done
        return self.place.root / f"{self.name}-1.0.0.moat"
