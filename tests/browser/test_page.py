"""The page in a real browser: Debian's chromium, headless, in a network namespace without any way
out.

A script beside the page's own plays the reader: it clicks and types, and leaves what it saw in the
document, which chromium prints.
"""

from __future__ import annotations

import html as html_module
import json
import os
import re
import shutil
import subprocess

import pytest

from pytest_isolate._report import html

pytestmark = pytest.mark.anybody

NAMES = (
    "wall_seconds",
    "cpu_seconds",
    "memory_peak_bytes",
    "pids_peak",
    "disk_bytes",
    "io_read_bytes",
    "io_write_bytes",
)
WORKERS = 4
HOSTILE = "</script><script>complaints.push('obeyed')</script><img src=x onerror=complaints.push(1)>\x1b[31m"
# Names that a person copies into a shell
QUOTED = [
    "t.py::test[1-a b]",
    "it's",
    "$(reboot)`id`",
    "a\nreboot\n",
    "\x1b[201~;reboot\n",
    "\u202etxt",
    "ä\x85",
    "a\\'b\x00",
    "",
]
LONGEST = 120  # seconds, on a busy machine with two cores

# Before anything of the page: every complaint that it could make, to the console or of the browser
# itself.
LISTENER = """<script>
const complaints = [];
addEventListener("error", event => complaints.push("error: " + (event.message || event.target.outerHTML)), true);
addEventListener("unhandledrejection", event => complaints.push("rejected: " + event.reason));
addEventListener("securitypolicyviolation", event => complaints.push("policy: " + event.violatedDirective + " " + event.blockedURI));
for (const kind of ["error", "warn"]) { console[kind] = (...said) => complaints.push(kind + ": " + said.join(" ")) }
</script>"""

# After it: the reader. Charts are drawn a while after the page is loaded, so it waits for ink on
# their canvases.
READER = """<script>
const tests_shown = () => [...document.querySelectorAll("#rows tr.test")];
const names = () => tests_shown().map(row => row.firstChild.textContent);
const click = title => [...document.querySelectorAll("#heads button")].find(each => each.textContent.startsWith(title)).click();
const type = text => {
  search.value = text; search.dispatchEvent(new Event("input"));
  return [names().length, document.getElementById("shown").textContent];
};
const below = node => [...node.querySelectorAll("*")].flatMap(each => [each, ...(each.shadowRoot ? below(each.shadowRoot) : [])]);
const inked = canvas => canvas.width > 0 && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(each => each);
const painted = id => below(document.getElementById(id)).some(each => each.localName === "canvas" && inked(each));
function read_all(left) {
  if (left && !(painted("timeline") && painted("memory"))) { setTimeout(read_all, 100, left - 1); return }
  const seen = {first: names().slice(0, 2), painted: [painted("timeline"), painted("memory")], sorted: {}, searched: {}};
  for (const title of ["test", "memory", "cpu", "wall", "pids", "disk", "read", "written"]) {
    click(title); const one = names()[0]; click(title); seen.sorted[title] = [one, names()[0]];
  }
  for (const text of WORDS) seen.searched[text] = type(text);
  type(""); document.getElementById("more").click();
  seen.more = names().length;
  seen.wider = [...document.body.querySelectorAll("*")].filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(each => each.localName + "." + each.getAttribute("class") + " " + each.textContent.slice(0, 40));
  const chip = () => document.querySelector("#chips .failed");
  chip().click(); seen.chip = [chip().textContent, document.getElementById("shown").textContent]; chip().click();
  tree.click(); seen.files = [...document.querySelectorAll("#rows tr.file")].map(row => row.textContent); tree.click();
  location.hash = "#" + encodeURIComponent(LINKED); go();  // which the event would call later
  const panel = document.querySelector("#rows tr.detail");
  seen.linked = [panel.previousSibling.firstChild.textContent, panel.querySelectorAll("svg").length, panel.textContent];
  seen.inside = panel.querySelectorAll("script, img, b, iframe").length;
  seen.quoted = QUOTED.map(quoted);
  document.body.append(make("p", "<b>" + String.fromCharCode(27, 0, 0x202e)));
  seen.plain = document.body.lastChild.textContent;
  seen.paper = getComputedStyle(document.body).backgroundColor;
  seen.loaded = performance.getEntriesByType("resource").map(each => each.name);
  seen.complaints = complaints;
  const said = document.createElement("script");
  said.type = "application/json"; said.id = "seen";
  said.textContent = JSON.stringify(seen).replaceAll("<", "\\\\u003c"); document.body.append(said);
}
addEventListener("load", () => read_all(100));
</script>"""


def entry(number):
    """Test ``number``: the higher, the heavier, in every figure; every tenth one failed."""
    usage = dict.fromkeys(NAMES, number) | {
        "wall_seconds": number / 100,
        "cpu_seconds": number / 200,
        "memory_peak_bytes": number << 20,
    }
    samples = [[0.02 * n, (number << 20) // 5 * n] for n in range(1, 6)]
    violation = {"resource": "memory", "message": f"used 2 MiB of 1 MiB <b>{number}</b>"}
    return {
        "nodeid": f"tests/test_page.py::test_number[{number}]",
        "outcome": "failed" if number % 10 == 0 else "passed", "usage": usage,
        "violations": [violation] if number % 10 == 0 else [],
        "output": "said <script>alert(1)</script>", "started": 1e9 + number / 7,
        "worker": f"gw{number % WORKERS}", "memory_samples": samples if number > 3 else [],
        "failure": f"E  {HOSTILE}", "limits": {"memory": 20 << 20}, "origins": {"memory": HOSTILE},
        "retries": [HOSTILE], "files": {"created": [HOSTILE], "modified": [], "deleted": []},
        "leaked_processes": [{"pid": 3, "command": HOSTILE}], "walls": ["process", HOSTILE],
        "network": {"attempts": [{"address": HOSTILE, "port": 1, "count": 2}],
                    "servers": [{"kind": "tcp", "address": "127.0.0.1:1", "process": HOSTILE, "fixture": "db", "connections": 1, "sent_bytes": 1, "received_bytes": None}],
                    "links": [{"sender": HOSTILE, "receiver": "b", "packets": 1, "bytes": 60, "dropped": 0}]},
    }  # fmt: skip


ABOUT = {
    "command": f"pytest -k '{HOSTILE}'", "directory": "/project", "started": 1e9, "seconds": 2.5,
    "python": "CPython 3.12", "platform": "Linux", "pytest": "9.2", "plugins": ["x 1", HOSTILE],
    "commit": {"name": "ab" * 20, "date": "2026-01-01", "subject": HOSTILE, "branch": HOSTILE, "changed": True},
}  # fmt: skip


@pytest.fixture
def browse(tmp_path):
    """Open a page and give back what the reader saw."""
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if chromium is None:
        reason = "there is no chromium here: apt-get install chromium"
        (
            pytest.fail(reason)
            if os.environ.get("PYTEST_ISOLATE_MUST_WORK", "") in {"1", "chromium"}
            else pytest.skip(reason)
        )
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]

    def see(page, scheme, words):
        path = tmp_path / "page.html"
        reader = READER.replace("WORDS", json.dumps(words))
        reader = reader.replace("LINKED", json.dumps("tests/test_page.py::test_number[10]"))
        reader = reader.replace("QUOTED", json.dumps(QUOTED).replace("<", "\\u003c"))
        path.write_text(
            page.replace("<head>", f"<head>{LISTENER}", 1).replace("</body>", f"{reader}</body>"),
            "utf-8",
        )
        command = [
            *alone, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
            "--virtual-time-budget=30000", f"--window-size={400 if scheme == 'dark' else 1440},900", "--dump-dom",
            path.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        found = re.search(
            r'<script type="application/json" id="seen">(.*?)</script>', done.stdout, re.DOTALL
        )
        assert found is not None, (
            f"chromium ended with {done.returncode}, its reader never:\n{done.stderr[-3000:]}"
        )
        return json.loads(html_module.unescape(found[1]))

    return see


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [10, 5000])
def test_the_page_works_in_a_browser_that_has_no_network(browse, count, scheme):
    """Charts, sorting and searching by every figure, no complaint and nothing loaded, in both
    colour schemes, small and large.
    """
    entries = [entry(number) for number in range(1, count + 1)]
    page = html.page({"net": {"available": True, "reason": ""}}, entries, ABOUT)
    half, last = count // 2, f"tests/test_page.py::test_number[{count}]"
    words = [
        f"memory>={half}M",
        f"cpu>{half * 5}ms",
        f"pids={half}",
        f"disk<{half} read<={half}",
        "failed",
        "number[3] passed",
        "no such",
        "a>b",
    ]
    seen = browse(page, scheme, words)
    assert seen["complaints"] == []
    assert seen["loaded"] == []
    assert seen["painted"] == [True, True]
    # What failed, then the heaviest by memory
    second = count - 1 if count == 10 else count - 10
    assert seen["first"] == [last, f"tests/test_page.py::test_number[{second}]"]
    for title in ("memory", "cpu", "wall", "pids", "disk", "read", "written"):
        assert set(seen["sorted"][title]) == {last, "tests/test_page.py::test_number[1]"}, title
    assert seen["sorted"]["test"][0] < seen["sorted"]["test"][1]
    found = [count - half + 1, count - half, 1, half - 1, count // 10, 1, 0, 0]
    assert [seen["searched"][word] for word in words] == [
        [min(100, n), f"{min(100, n)} of {n} shown"] for n in found
    ]
    assert seen["more"] == min(count, 1100)
    assert seen["wider"] == []  # in 1440 pixels, and in the 400 of a telephone
    assert seen["chip"] == [
        f"{count // 10} failed",
        f"{min(100, count // 10)} of {count // 10} shown",
    ]
    assert seen["files"] == [
        f"tests/test_page.py{count // 10} failed, {count - count // 10} passed"
    ]
    name, curves, panel = seen["linked"]
    assert (name, curves) == ("tests/test_page.py::test_number[10]", 1)
    for said in (
        "<b>10</b>",
        "onerror=",
        "Limits",
        "20 MiB",
        "attempt 1",
        "1 file created",
        "Tried to leave",
        "127.0.0.1:1",
        "Processes left",
        "kept apart by",
        "[10]'",
    ):
        assert said in panel, said
    assert seen["inside"] == 0  # nothing that a test wrote is an element
    assert seen["plain"] == "<b>\ufffd\ufffd\ufffd"
    assert (sum(map(int, re.findall(r"\d+", seen["paper"]))) > 3 * 128) == (scheme == "light")
    for word, shown in zip(
        QUOTED, seen["quoted"], strict=True
    ):  # a shell makes the name of it again
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", shown), shown
        said = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True)
        assert said.stdout.decode() == word.split("\0")[0]  # no shell has null bytes
