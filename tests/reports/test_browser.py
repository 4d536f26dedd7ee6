"""Reports in a real browser: no error, no request, no sideways scrolling, a PDF by print.

Skipped where no Chromium is installed. The accessibility check needs the npm package axe-core,
found beside the tests' node_modules or through AXE_CORE.
"""

from __future__ import annotations

import html
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import reports
from tests.reports.example import example_record, passing_record

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

# A page of the test's own: it holds a report in a frame and measures it from outside, since the
# report's policy lets nothing run inside.
FRAME = """<!DOCTYPE html><title>frame</title>
<body style="margin:0"><iframe id="f" src="{src}" style="border:0;width:{width}px;height:900px">
</iframe><pre id="out"></pre><script>
document.getElementById("f").onload = (event) => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll("body *")].filter((e) =>
    e.getBoundingClientRect().right > root.clientWidth + 0.5
    && !e.closest(".scroll, svg, .unseen"));
  document.getElementById("out").textContent = JSON.stringify({{
    width: root.clientWidth, scroll: root.scrollWidth,
    wide: wide.map((e) => e.outerHTML.slice(0, 120)),
    chart: page.querySelector(".wide > .chart")?.getBoundingClientRect().width,
    border: page.defaultView.getComputedStyle(page.querySelector(".verdict")).borderTopWidth,
  }});
}};
</script>"""

AXE = """<script src="axe.js"></script><pre id="out"></pre><script>
axe.run(document.querySelector("main").parentElement, {resultTypes: ["violations"]}).then((r) => {
  document.getElementById("out").textContent = JSON.stringify(r.violations.map(
    (v) => [v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160))]));
});
</script></body>"""


class Browser:
    """Chromium without a window, and a server that remembers what was asked of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **more: object) -> None:
                super().__init__(*args, directory=str(root), **more)  # type: ignore[arg-type]

            def log_message(self, *args: object) -> None:
                asked.append(self.path)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.runs = 0

    def run(self, page: str, *options: str) -> tuple[str, list[str]]:
        """Open a page; return what Chromium prints, and the messages of the console."""
        self.runs += 1
        assert CHROMIUM is not None
        command = [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--hide-scrollbars", "--enable-logging=stderr"),
            f"--user-data-dir={self.root / 'profiles' / str(self.runs)}",
            *options,
            f"http://127.0.0.1:{self.server.server_port}/{page}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout, console

    def measure(self, page: str, width: int) -> tuple[dict[str, object], list[str]]:
        """Return the measurements of a page in a frame of `width`, and the console."""
        frame = FRAME.format(src=page, width=width)
        (self.root / "frame.html").write_text(frame, encoding="utf-8")
        dom, console = self.run("frame.html", "--dump-dom", "--virtual-time-budget=3000")
        return json.loads(_out(dom)), console


def _out(dom: str) -> str:
    found = re.search(r'<pre id="out">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None
    return html.unescape(found.group(1))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    root = tmp_path_factory.mktemp("browser")
    long = example_record()
    long["title"] = long["inputs"][0]["name"] = long["checks"][3]["id"] = "W" * 400
    long["checks"][3]["evidence"] = {"k" * 300: "v" * 300}
    long["comparison"]["rows"][0]["values"] = ["x" * 300, "y" * 300]
    long["charts"] = []
    annex = {"records": [{"id": "a", "image": [[0, 1], [1, 0]], "values": [0.5] * 400}]}
    pages = {
        "fail.html": reports.render(example_record()),
        "pass.html": reports.render(passing_record(), annex=annex),
        "long.html": reports.render(long),
        "annex.html": reports.render_annex(annex),
    }
    for name, source in pages.items():
        (root / name).write_text(source, encoding="utf-8")
    started = Browser(root)
    yield started
    started.server.shutdown()


@pytest.mark.parametrize(
    ("page", "width"),
    [
        ("fail.html", 390),
        ("fail.html", 1280),
        ("pass.html", 390),
        ("long.html", 390),
        ("annex.html", 390),
    ],
)
def test_no_error_no_request_no_sideways_scrolling(browser, page, width):
    if page == "annex.html":
        source = (browser.root / page).read_text(encoding="utf-8")
        (browser.root / page).write_text(
            source.replace("<main", '<div class="verdict"></div><main'), encoding="utf-8"
        )
    browser.asked.clear()
    measured, console = browser.measure(page, width)
    assert console == []
    assert set(browser.asked) - {"/favicon.ico"} == {f"/{page}", "/frame.html"}
    assert measured["wide"] == []
    assert measured["scroll"] <= measured["width"] == width
    assert measured["border"] == "2px"  # the style applies: its hash is right


@pytest.mark.parametrize(("width", "least", "most"), [(1280, 550, 700), (390, 330, 360)])
def test_the_chart_of_all_attacks_takes_the_room_there_is(browser, width, least, most):
    measured, _ = browser.measure("fail.html", width)
    assert least <= measured["chart"] <= most


def test_the_console_would_show_a_violation(browser):
    source = (browser.root / "pass.html").read_text(encoding="utf-8")
    broken = source.replace("<main>", '<main><p style="color:red">x</p><script>1</script>')
    (browser.root / "broken.html").write_text(broken, encoding="utf-8")
    _, console = browser.run("broken.html", "--dump-dom")
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("width", [390, 1280])
def test_screenshot(browser, width):
    image = browser.root / f"{width}.png"
    browser.asked.clear()
    _, console = browser.run("fail.html", f"--screenshot={image}", f"--window-size={width},2000")
    assert console == []
    assert browser.asked == ["/fail.html"]
    assert image.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert image.stat().st_size > 50_000


def test_print(browser):
    path = browser.root / "report.pdf"
    browser.run("fail.html", f"--print-to-pdf={path}", "--no-pdf-header-footer")
    assert path.read_bytes()[:5] == b"%PDF-"
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    text = " ".join(p.extract_text() for p in pypdf.PdfReader(path).pages)
    text = " ".join(unicodedata.normalize("NFKC", text).split())  # ligatures
    for check in example_record()["checks"]:
        assert check["reason"][:30] in text


def test_axe(browser):
    package = os.environ.get("AXE_CORE", "node_modules/axe-core")
    script = Path(package) / "axe.min.js"
    if not script.exists():
        pytest.skip("axe-core is not installed; set AXE_CORE to its folder")
    shutil.copy(script, browser.root / "axe.js")
    for name in ("fail.html", "pass.html"):
        source = (browser.root / name).read_text(encoding="utf-8")
        source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
        (browser.root / "axe.html").write_text(source.replace("</body>", AXE), encoding="utf-8")
        dom, _ = browser.run("axe.html", "--dump-dom", "--virtual-time-budget=20000")
        assert json.loads(_out(dom)) == []
