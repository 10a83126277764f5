"""Small pages are exchanged for huge ones: in processes of their own, by this kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import mmap, os, re, sys
from pytest_isolate._linux import huge_pages
from pytest_isolate._linux.huge_pages import SIZE

def in_smaps(name):
    return int(re.search(rf"^{name}: +(\\d+) kB", open("/proc/self/smaps_rollup").read(), re.MULTILINE)[1]) << 10
"""


def run(body: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT + body], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture(scope="module")
def has_them() -> bool:
    """Whether this kernel makes huge pages on demand: Linux 6.1 with transparent huge pages."""
    asked = (
        "m = mmap.mmap(-1, 2 * SIZE, mmap.MAP_PRIVATE)\nm.write(b'x' * 2 * SIZE)\ntry:"
        " m.madvise(25)\nexcept OSError: print('no')"
    )
    return Path("/sys/kernel/mm/transparent_hugepage").exists() and run(asked) != "no"


def test_full_memory_is_exchanged_and_holds_what_it_held(has_them):
    """64 MB in pieces of 256 KiB: huge pages take the place of most, not one byte changes, and no
    more memory is used.
    """
    said = run("""
held = [bytearray(os.urandom(1 << 18)) for _ in range(256)]
before, resident = [bytes(each) for each in held], in_smaps("Rss")
taken = huge_pages.exchange()
assert in_smaps("Rss") < resident * 9 / 8
assert [bytes(each) for each in held] == before
print(taken, in_smaps("AnonHugePages") == taken * SIZE)
""")
    taken, true = said.split()
    assert (int(taken) > 25, true) == (has_them, "True")


def test_memory_that_is_nearly_empty_stays_small(has_them):
    """One page written of each 2 MiB, as in the stacks of threads: huge pages would take 512 times
    as much.
    """
    said = run("""
sparse = mmap.mmap(-1, 64 * SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(sparse), SIZE):
    sparse[at] = 1
resident = in_smaps("Rss")
huge_pages.exchange()
print(in_smaps("Rss") - resident < 8 * SIZE)
""")
    assert said == "True"


def test_what_a_fork_writes_is_its_own(has_them):
    """A forked child writes to a huge page: the parent's stays, and the kernel copies a small one,
    not 2 MiB.
    """
    said = run("""
held = [bytearray(b"\\1") * (1 << 18) for _ in range(256)]
huge_pages.exchange()
begin = in_smaps("Private_Dirty")
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    before = in_smaps("Private_Dirty")
    for each in held:
        each[4096] = 2
    os.write(write, b"%d" % (in_smaps("Private_Dirty") - before))
    os._exit(0)
os.waitpid(pid, 0)
print(os.read(read, 99).decode(), all(each[4096] == 1 for each in held))
""")
    written, true = said.split()
    assert int(written) < 512 * 4096
    assert true == "True"


def test_what_is_only_reserved_is_not_looked_through():
    """A sanitizer reserves terabytes, of which it uses some."""
    said = run("""
reserved = mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
reserved[0] = 1
looks = []
sys.setprofile(lambda _, event, what: event == "c_call" and what is os.pread and looks.append(1))
huge_pages.exchange()
sys.setprofile(None)
print(0 < len(looks) < 1000)
""")
    assert said == "True"


def test_without_a_descriptor_left_nothing_is_exchanged_and_nobody_told():
    """It is a matter of speed alone."""
    run("""
import resource
held = [bytearray(b"\\1") * (1 << 18) for _ in range(256)]
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
exchange = huge_pages.Exchange()
for _ in range(50):
    exchange.before_fork()
""")


def test_every_so_many_forks_what_has_grown_is_exchanged(has_them):
    """Not before the forks have cost as much as an exchange does, and not again unless there is
    more to exchange.
    """
    said = run("""
held = [bytearray(b"\\1") * (1 << 18) for _ in range(256)]
exchange, done = huge_pages.Exchange(), []
for forks in range(1, 200):
    if forks == 120:
        held += [bytearray(b"\\2") * (1 << 18) for _ in range(192)]
    if exchange.before_fork():
        done.append(forks)
print(done)
""")
    assert said == ("[50, 150]" if has_them else "[]")
