"""Calls a plugin through plugin_run, which stands in for the host."""

import json
import subprocess


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Plugin:
    """One plugin in one process of plugin_run."""

    def __init__(self, build, name, sanitized=False, payload_max=64 << 20):
        end = "_asan" if sanitized else ""
        here = build / "tests" / "plugins"
        library = next(p for p in (here / f"{name}{end}.so", build / "plugins" / f"{name}{end}.so") if p.exists())
        self.process = subprocess.Popen(
            [here / f"plugin_run{end}", library, str(payload_max)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", bufsize=1)

    def ask(self, action, text):
        """The result as text; raises Refused."""
        self.process.stdin.write(f"{action}\t{text}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().rstrip("\n")
        assert line, f"plugin_run ended with {self.process.wait(10)}: {action} {text[:200]}"
        kind, _, rest = line.partition("\t")
        if kind == "fail":
            raise Refused(*rest.split("\t", 1))
        assert kind == "ok", f"{line[:200]}: {action} {text[:200]}"
        return rest

    def call(self, action, **parameters):
        return json.loads(self.ask(action, json.dumps(parameters)))

    def end(self):
        """Ends the process; its exit status (AddressSanitizer's findings make it fail)."""
        self.process.stdin.close()
        status = self.process.wait(30)
        self.process.stdout.close()
        return status
