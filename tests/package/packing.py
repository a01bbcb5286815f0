"""Packs and checks packages with package_tool."""
import json
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Packing:
    """One build's tool, and a small plugin to pack in a directory of its own."""

    def __init__(self, build, place):
        self.built = build / "tests/package"
        self.command = [self.built / "package_tool", build / "src/worker/moat-worker", build / "src/helper/moat-helper"]
        self.plugin = place / "plugin"
        (self.plugin / "data").mkdir(parents=True)
        shutil.copy(self.built / "good.so", self.plugin / "demo.so")
        (self.plugin / "data/words.txt").write_text("some words\n")
        (self.plugin / "data/more words.txt").write_text("")
        (self.plugin / "not_named.txt").write_text("stays at home\n")
        self.write_manifest()
        self.key = place / "publisher"
        self.public = place / "publisher.pub"
        assert self.tool("keygen", self.key).returncode == 0

    def tool(self, *args, env=None):
        return subprocess.run(
            [*self.command, *args], capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}
        )

    def pack(self, out, *args, env=None):
        return self.tool("pack", self.plugin, self.key, out, *args, env=env)

    def check(self, package):
        return self.tool("check", package, self.public)

    def write_manifest(self, **changes):
        (self.plugin / "plugin.json").write_text(json.dumps(manifest(**changes), indent=2))


def manifest(**changes):
    good = {
        "moat": 1,
        "name": "demo",
        "version": "1.0.0",
        "engine": "native",
        "entry": "demo.so",
        "assets": ["data/words.txt", "data/more words.txt"],
        "capabilities": ["custom"],
        "actions": [{"name": "run"}],
    }
    return {**good, **changes}
