"""``fs_hide``: paths that are not there; ``bind``: those that are, elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

HEAD = """
import os, subprocess, sys
from pathlib import Path
import pytest
from pytest_isolate import isolate

HERE = Path(__file__).parent
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """A file of the machine beside the tests."""
    (pytester.path / "kept").write_text("original")
    return Path(os.path.realpath(pytester.path))


HIDES = """
def names(path): return sorted(each.name for each in os.scandir(path))

def test_is_not_there():
    assert not os.path.lexists(HERE / "secrets") and not os.path.lexists(HERE / ".env")
    assert {"secrets", ".env", "link"} & set(names(HERE)) == set()
    (HERE / ".env").write_text("my own")
    (HERE / "secrets").mkdir()
    assert names(HERE / "secrets") == []

@isolate(fs="readonly", bind=[str(HERE) + ":ro"])
def test_of_what_is_shared_nothing_is_seen():
    assert names(HERE / "secrets") == [] and (HERE / ".env").read_bytes() == b""
    with pytest.raises(OSError): (HERE / "secrets/new").write_text("x")

@isolate(bind=[f"{HERE}/secrets/public", f"{HERE}/kept:{HERE}/made/kept:ro", f"{HERE}:/opt/other"])
def test_what_is_bound_in_there_is_there():
    assert names(HERE / "secrets") == ["public"]
    assert (HERE / "secrets/public").read_text() == "public"
    assert (HERE / "made/kept").read_text() == "original"
    assert names("/opt/other/secrets") == []
    (HERE / "secrets/public").write_text("written")
    with pytest.raises(OSError): (HERE / "made/kept").write_text("x")

@isolate(fs_allow=[], bind=[f"{HERE}/kept:{HERE}/made/kept"])
def test_what_we_made_is_not_its_own_doing():
    (HERE / "made/kept").write_text("original")
"""


@pytest.mark.needs("user_xattr")
def test_what_is_hidden_is_not_there(pytester, isolated, project):
    """A directory, a file, a link with what it leads to, and what does not exist."""
    (project / "secrets").mkdir()
    (project / "secrets/key").write_text("key")
    (project / "secrets/public").write_text("public")
    (project / "real").write_text("TOKEN=1")
    (project / ".env").symlink_to("real")
    (project / "link").symlink_to("secrets")
    pytester.makepyfile(HEAD + HIDES)
    result = isolated(
        "--isolate-all", "--isolate-fs-hide=.env", "--isolate-fs-hide=~/no/such",
        f"--isolate-fs-hide={project}/link", "-W", "error",
    )  # fmt: skip
    result.assert_outcomes(passed=4, warnings=1)
    nowhere = os.path.expanduser("~/no/such")
    said = f"isolate: fs_hide={nowhere!r} (on the command line as --isolate-fs-hide): nothing is"
    result.stdout.fnmatch_lines(f"*{said} there to hide")
    assert (project / "secrets/public").read_text() == "written"
    assert (project / "real").read_text() == "TOKEN=1"
    assert sorted(os.listdir(project / "secrets")) == ["key", "public"]


def test_a_test_that_is_root_finds_nothing_by_taking_mounts_away(pytester, isolated, project):
    """What lies below an overlay cannot be seen without it."""
    (project / "secrets").mkdir()
    (project / "secrets/key").write_text("key")
    pytester.makepyfile(
        HEAD
        + '''
LOOK = """
import ctypes, os, sys
libc, place = ctypes.CDLL(None, use_errno=True), sys.argv[1].encode()
places = [line.split()[4].encode() for line in open("/proc/self/mountinfo")]
proc = os.open("/proc", os.O_RDONLY)
if libc.unshare(0x20000) or libc.mount(None, b"/", None, 0x44000, None):
    sys.exit(os.strerror(ctypes.get_errno()))
gone = sum(libc.umount2(each, 2) == 0 for each in sorted(places, reverse=True))
found = [b"" if os.path.lexists(place) else None]
for pid in os.listdir(proc):
    try: os.stat(os.fsencode(pid) + b"/root" + place, dir_fd=proc)
    except OSError: continue
    found.append(pid)
print(gone > 0, found)
"""

@isolate(user="root", fs_hide=["secrets"])
def test_looks():
    command = [sys.executable, "-c", LOOK, f"{HERE}/secrets/key"]
    assert subprocess.check_output(command, text=True) == "True [None]\\n"
'''
    )
    isolated().assert_outcomes(passed=1)


def test_the_report_does_not_call_it_deleted(pytester, isolated, project):
    """What we did is nothing that the test did, and is removed nowhere."""
    (project / ".pytest_cache/v").mkdir(parents=True)
    (project / ".pytest_cache/v/key").write_text("kept")
    pytester.makepyfile("def test_it(request): request.config.cache.set('a/b', 1)")
    isolated(
        "--isolate-all", "-p", "cacheprovider", "--isolate-report=report.json",
        "--isolate-fs-hide=.pytest_cache/v/key", "--isolate-fs-hide=kept",
    ).assert_outcomes(passed=1)  # fmt: skip
    (entry,) = json.loads((project / "report.json").read_text())["tests"]
    assert entry["files"]["deleted"] == []
    assert (project / ".pytest_cache/v/key").read_text() == "kept"
    shutil.rmtree(project / ".pytest_cache")
