"""`moat top` on a terminal of the test's own: what it shows, its keys, its size, and what it leaves behind."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import subprocess
import termios
import time

import pytest


class Terminal:
    """A pseudo terminal with `moat top` in it; `screen` is what a person would see."""

    def __init__(self, place, *arguments, columns=80, lines=24, **env):
        self.master, self.slave = pty.openpty()
        self.resize(columns, lines, tell=False)
        self.modes = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process = subprocess.Popen(
            [place.build / "moat", "top", *arguments], env=place.env | {"TERM": "xterm"} | env, stdin=self.slave,
            stdout=self.slave, stderr=self.slave, start_new_session=True, preexec_fn=self.own)

    def own(self):
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def resize(self, columns, lines, tell=True):
        self.columns, self.lines = columns, lines
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                return False
        return True

    def frames(self):
        """Whole pages so far, without their colours."""
        found = re.findall(rb"\x1b\[H(.*?)\x1b\[J", self.seen, re.S)
        return [re.sub(r"\x1b\[[0-9;]*m", "", f.decode()).replace("\x1b[K", "").split("\r\n") for f in found]

    def until(self, condition, seconds=20):
        """The first page from now on that is so."""
        looked, end = len(self.frames()), time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.1)
            for frame in self.frames()[looked:]:
                if condition(frame):
                    return frame
                looked += 1
        raise AssertionError(f"never seen; the last page is {self.frames()[-1:]}, all of it {self.seen[-2000:]}")

    def press(self, keys):
        os.write(self.master, keys)

    def end(self, seconds=20):
        """Its exit status; the terminal is as it was before."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.05)
        status = self.process.wait(1)
        while select.select([self.master], [], [], 0)[0] and self.read(0):
            pass
        modes = termios.tcgetattr(self.slave)
        assert modes == self.modes
        assert self.seen.count(b"\x1b[?1049h") == self.seen.count(b"\x1b[?1049l") == 1
        assert self.seen.rindex(b"\x1b[?25h") > self.seen.rindex(b"\x1b[?25l")  # the cursor is back
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def served(place):
    place.have("echo")
    place.serve()
    place.good("load", "echo")
    yield place


@pytest.fixture
def terminal(served):
    terminal = Terminal(served, "--interval", "200ms")
    yield terminal
    terminal.close()


def row(frame, name="echo"):
    for line in frame:
        if line.startswith(name + " "):
            return line
    return None


def test_a_page_fits_80_columns(terminal):
    frame = terminal.until(lambda f: row(f) and row(f).split()[3] != "-")  # the second look has rates
    assert len(frame) <= 24 and max(map(len, frame)) <= 80
    assert re.match(r"moat  \d\d:\d\d:\d\d UTC  up 0d 00:00:\d\d  plugins 1  workers 1$", frame[0]), frame
    assert frame[3].split() == ["PLUGIN", "STATE", "W", "CALLS/S", "P50", "P99", "ERR/S", "CPU%", "MEMORY", "QUEUED"]
    cells = row(frame).split()
    assert cells[:3] == ["echo", "ready", "1"] and cells[7] != "-" and re.match(r"[\d.]+M$", cells[8])
    assert frame[-1].startswith("[q]uit  sort: c[a]lls [c]pu [m]emory [e]rrors q[u]eue [n]ame")
    assert len({len(line) for line in (frame[3], row(frame))}) == 1  # aligned


@pytest.mark.parametrize("locale,marks", [("C.UTF-8", "▁▂▃▄▅▆▇█"), ("C", ".:-=+*#")])
def test_it_draws_what_is_to_come(served, locale, marks):
    [path] = served.home.rglob("registry.db")
    db, now = sqlite3.connect(path), int(time.time()) // 3600
    db.executemany("INSERT INTO hour SELECT id, ?, ?, 0 FROM plugin", [(now - i, 100 + 10 * ((now - i) % 24)) for i in range(1, 200)])
    db.commit()
    db.close()
    terminal = Terminal(served, "--interval", "200ms", LC_ALL=locale)
    frame = terminal.until(lambda f: len(f) > 2 and f[2].startswith("calls/h "))
    past, ahead = frame[2].removeprefix("calls/h ").split("|")
    assert len(past) == 24 and set(past) <= set(marks) and len(set(past)) > 3
    assert set(ahead[:24]) <= set(marks) and past[1:] == ahead[1:24], "a day like the last one"
    assert re.match(r" \d+, up to \d+$", ahead[24:]) and len(frame[2]) <= 80
    terminal.press(b"q")
    assert terminal.end() == 0
    terminal.close()
    env = served.env | {"LC_ALL": locale}
    once = subprocess.run([served.build / "moat", "top", "--once", "--interval", "100ms"], env=env, capture_output=True, text=True,
                          check=True)
    assert "calls/h " in once.stdout


def test_it_shows_calls_errors_and_latency(served, terminal):
    terminal.until(row)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        served.good("call", "echo", "sleep", '{"ms": 2}')
        served.moat("call", "echo", "fail", "{}")
        terminal.read(0)
        busy = [row(f).split() for f in terminal.frames() if row(f) and row(f).split()[3] not in ("-", "0")]
        if [b for b in busy if float(b[6]) > 0 and b[5].endswith(("us", "ms"))]:
            break
    else:
        raise AssertionError(terminal.frames()[-1])


def test_a_computing_call_uses_cpu_before_it_ends(served, terminal):
    call = served.start("call", "echo", "spin", "--deadline", "20s")
    try:
        frame = terminal.until(lambda f: row(f) and row(f).split()[7] not in ("-", "0") and float(row(f).split()[7]) > 5)
        assert "running 1" in frame[1]
    finally:
        call.send_signal(signal.SIGINT)
        call.communicate(timeout=30)
        served.good("reload", "echo", timeout=60)


@pytest.mark.parametrize("how", [b"q", b"\x03"])
def test_keys_that_end_it(terminal, how):
    terminal.until(row)
    terminal.press(how)
    assert terminal.end() == 0


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_it(terminal, sig):
    terminal.until(row)
    terminal.process.send_signal(sig)
    assert terminal.end() == 0


def test_it_follows_the_window(terminal):
    terminal.until(row)
    terminal.resize(120, 40)
    wide = terminal.until(lambda f: len(f[3]) > 80)
    assert max(map(len, wide)) <= 120
    terminal.resize(60, 10)
    small = terminal.until(lambda f: max(map(len, f)) <= 60)
    assert len(small) <= 10
    terminal.resize(20, 3)
    tiny = terminal.until(lambda f: max(map(len, f)) <= 20)
    assert len(tiny) <= 6
    terminal.press(b"q")
    assert terminal.end() == 0


def test_keys_that_sort(served):
    served.good("install", served.pack(name="alpha"), "--load")
    served.good("install", served.pack(name="omega"), "--load")
    terminal = Terminal(served, "--interval", "1h")  # only keys draw it anew
    try:
        names = lambda f: [line.split()[0] for line in f[4:] if " ready " in line]  # noqa: E731
        terminal.until(lambda f: len(names(f)) == 3)
        terminal.press(b"n")
        assert names(terminal.until(lambda f: True)) == ["alpha", "echo", "omega"]
        terminal.resize(80, 8)
        frame = terminal.until(lambda f: len(names(f)) == 2)
        assert frame[-1].endswith("1-2 of 3 (j, k)"[: 80 - frame[-1].index("1-2")])
        terminal.press(b"j")
        assert names(terminal.until(lambda f: True)) == ["echo", "omega"]
        terminal.press(b"kkkk")
        assert names(terminal.until(lambda f: True)) == ["alpha", "echo"]
        terminal.press(b"q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_a_server_that_ends_is_said_on_a_clean_screen(served):
    terminal = Terminal(served, "--interval", "200ms")
    try:
        terminal.until(row)
        served.end_server()
        assert terminal.end() in (7, 8)
        after = terminal.seen.split(b"\x1b[?1049l")[1].decode()
        assert re.match(r"moat: (no server holds|the server)", after), after
    finally:
        terminal.close()


def test_without_colours(served):
    terminal = Terminal(served, "--interval", "200ms", NO_COLOR="1")
    try:
        terminal.until(row)
        assert b"\x1b[32m" not in terminal.seen and b"\x1b[7m" not in terminal.seen
        terminal.press(b"q")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_once(served):
    done = served.good("top", "--once", "--interval", "100ms")
    assert "\x1b" not in done.out and done.err == ""
    lines = done.out.splitlines()
    assert lines[3].startswith("PLUGIN") and lines[4].startswith("echo ") and "ready" in lines[4] and len(lines) == 5
    document = served.good("top", "--once", "--interval", "100ms", "--json").json
    assert document["uptime_seconds"] >= 0
    plugin, = document["plugins"]
    assert plugin["name"] == "echo" and plugin["workers"] == 1 and plugin["memory"] > 100_000 and plugin["cpu"] >= 0
    assert set(plugin) == {"name", "loading", "health_status", "workers", "calls_per_s", "errors_per_s", "cpu", "memory",
                           "p50_ns", "p99_ns", "queued", "in_flight"}


def test_without_a_server_or_a_terminal(place):
    place.bad(7, "no_answer", "top", "--once")
    place.serve()
    done = place.moat("top")
    assert done.status == 2 and "--once" in done.err and done.out == ""
    assert "No plugin is loaded" in place.good("top", "--once", "--interval", "100ms").out
    for interval in ("1ms", "2h", "soon", "-1s"):
        place.bad(2, "bad_usage", "top", "--once", f"--interval={interval}")
