"""The report in a browser: headless Chromium draws what is meant, and runs nothing of what others wrote into it."""

import html
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from place import Place

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="the Debian package chromium is not installed")

ATTACK = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture
def browse(tmp_path):
    """What the document of a page is, once the browser has drawn it."""
    def run(source, *arguments):
        page = tmp_path / "page.html"
        page.write_text(source)
        done = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                               "--disable-background-networking", "--disable-component-update", "--window-size=1000,1400",
                               f"--user-data-dir={tmp_path / 'profile'}", *(arguments or ["--dump-dom"]), page.as_uri()],
                              capture_output=True, text=True, timeout=120, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run


@pytest.fixture
def report(build, tmp_path):
    """A week of calls, some failed, and hostile words wherever others may write."""
    place = Place(build, tmp_path)
    place.install(only=("echo",))
    place.good("list")
    [path] = place.home.rglob("registry.db")
    db = sqlite3.connect(path)
    now = int(time.time())
    [(plugin,)] = db.execute("SELECT id FROM plugin").fetchall()
    db.executemany("INSERT INTO hour VALUES (?, ?, ?, ?)", [(plugin, now // 3600 - i, 50 + i % 24 * 10, i % 24) for i in range(1, 160)])
    db.execute("INSERT INTO denial SELECT id, '1.0.0', 'read', 'open', ?, 'seccomp', 0, '', 3, ?, ? FROM plugin",
               (ATTACK, now * 1000, now * 1000))
    db.execute("UPDATE audit SET subject = ?", (ATTACK,))
    db.commit()
    db.close()
    place.good("report", "--html", "report.html")
    yield (place.root / "report.html").read_text()
    place.close()


def title(document):
    return re.search(r"<title>(.*?)</title>", document)[1]


def test_the_page_is_drawn_and_runs_nothing(report, browse):
    assert title(browse(POLICY.sub("", html.unescape(report)))) == "taken", "the attack is real where nobody stands against it"
    document = browse(report)
    assert title(document) == "Moat report" and "<script" not in document and "<img" not in document
    assert html.escape(ATTACK, quote=False) in document, "it is shown, as it is"
    bars = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="(#\w+)"', document)
    assert len([b for b in bars if b[4] == "#47a"]) >= 150 and len([b for b in bars if b[4] == "#c33"]) > 100
    width, height = map(float, re.search(r'<svg viewBox="0 0 (\d+) (\d+)"', document).groups())
    assert all(0 <= float(x) and float(x) + float(w) <= width and 0 <= float(y) and float(y) + float(h) <= height for x, y, w, h, _ in bars)


def test_the_policy_alone_would_hold(report, browse, long):
    if not long:
        pytest.skip("under --long")
    assert title(browse(html.unescape(report))) == "Moat report"


def test_it_is_a_picture(report, browse, tmp_path, long):
    if not long:
        pytest.skip("under --long")
    browse(report, f"--screenshot={tmp_path / 'report.png'}")
    assert (tmp_path / "report.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and (tmp_path / "report.png").stat().st_size > 20_000
