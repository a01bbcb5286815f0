"""`moat report`: what plugins did, as text, JSON and one page; and that nothing which others wrote becomes part of the page."""

import html.parser
import re
import sqlite3
import time

import pytest

from place import Place

HOSTILE = "/x\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u202egnp.exe\x1b[31m\x01"
VOID = {"meta", "rect", "line"}


@pytest.fixture
def place(build, tmp_path):
    place = Place(build, tmp_path)
    yield place
    place.close()


class Page(html.parser.HTMLParser):
    """Every tag that is there is one of ours, closed in order; `texts` is what a reader sees."""

    def __init__(self, source):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in {"html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "small", "p", "table", "tr",
                       "th", "td", "svg", "rect", "line", "text"}, tag
        for name, value in attributes:
            assert not name.startswith("on") and name not in ("src", "href", "style"), (name, value)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def rows_of(place, sql, *values):
    [path] = place.home.rglob("registry.db")
    db = sqlite3.connect(path)
    found = db.execute(sql, values).fetchall()
    db.commit()
    db.close()
    return found


@pytest.fixture
def busy(place):
    place.install(optional_permissions=[], only=("echo", "fail", "read"))
    place.serve()
    for _ in range(5):
        place.good("call", "alpha", "echo", "[1]")
    assert place.moat("call", "alpha", "fail", "{}").status == 1
    place.moat("call", "alpha", "read", '{"path": "/etc/hostname"}')
    return place


def test_what_a_plugin_did(busy):
    told = busy.result("report")
    [alpha] = told["plugins"]
    assert (alpha["name"], alpha["calls"], alpha["errors"]) == ("alpha", 7, 1) and len(alpha["calls_by_time"]) == 168
    assert sum(alpha["calls_by_time"][-2:]) == 7 and alpha["cost"]["cpu_ns"] > 0 and alpha["cost"]["latency"]["p50_ns"] > 0
    assert alpha["refused_count"] == sum(r["count"] for r in alpha["refused"])
    assert told["totals"]["calls"] == 7 and told["totals"]["changes"] == len(told["changes"])
    assert {"plugin.install", "trust.add"} <= {c["action"] for c in told["changes"]}
    shown = busy.good("report").out
    assert re.search(r"alpha\s+1\.0\.0\s+7\s+1\s", shown) and "plugin.install" in shown


def test_older_hours_are_there_as_far_as_was_asked(busy):
    [(plugin,)] = rows_of(busy, "SELECT id FROM plugin WHERE name = 'alpha'")
    hour = int(time.time()) // 3600
    for ago, calls in ((30, 100), (24 * 10, 1000), (24 * 40, 10000)):
        rows_of(busy, "INSERT INTO hour VALUES (?, ?, ?, ?)", plugin, hour - ago, calls, calls // 10)
    for since, calls, points in (("2h", 7, 2), ("1h", 7, 1), ("7d", 107, 168), ("30d", 1107, 144), ("63d", 11107, 168)):
        told = busy.result("report", "--since", since)
        seen = told["plugins"][0]["calls"]
        assert seen == calls or (since == "1h" and seen < 7), (since, seen)  # an hour may have ended just now
        assert len(told["plugins"][0]["calls_by_time"]) == points and points * told["hours_per_point"] >= 1


@pytest.mark.parametrize("since", ["59m", "64d", "soon", "-1h"])
def test_what_cannot_be_asked(place, since):
    place.bad(2, "bad_usage", "report", f"--since={since}")


def test_the_page(busy):
    done = busy.good("report", "--html", "report.html", "--json")
    source = (busy.root / "report.html").read_text()
    page = Page(source)
    assert done.json["plugins"][0]["name"] == "alpha" and "alpha " in page.texts
    assert page.tags.count("section") == 2 and page.tags.count("svg") == 1 and page.tags.count("rect") >= 2
    assert "Content-Security-Policy" in source and "http" not in source.replace("http-equiv", "")
    assert (busy.root / "report.html").stat().st_mode & 0o077 == 0
    assert busy.moat("report", "--html", "nowhere/report.html").status != 0 and not (busy.root / "nowhere").exists()


def test_hostile_words_stay_words(busy):
    """As they may stand in the registry: the path that a plugin tried, who did what to whom."""
    now = int(time.time() * 1000)
    rows_of(busy, "INSERT INTO denial SELECT id, '1.0.0', 'read', 'open', ?, 'seccomp', 0, '', 3, ?, ? FROM plugin", HOSTILE, now, now)
    rows_of(busy, "UPDATE audit SET subject = ?, actor = ?", HOSTILE, "<b>uid:0</b>")
    rows_of(busy, "UPDATE publisher SET name = ?", "<script src=//x>")
    busy.good("report", "--html", "report.html")
    source = (busy.root / "report.html").read_text()
    page = Page(source)
    assert "script" not in page.tags and "<script" not in source and "<b>" not in source
    seen = "".join(page.texts)
    assert "<script>alert(1)</script>" in seen and "<b>uid:0</b>" in seen, "it is shown, as it is"
    assert not set(seen) & {"\u202e", "\x1b", "\x01"}
    assert "\x1b" not in busy.good("report").out and "\u202e" not in busy.good("report").out


def test_an_empty_home(place):
    assert "No plugin is installed." in place.good("report", "--html", "report.html").out + place.good("report").out
    Page((place.root / "report.html").read_text())
