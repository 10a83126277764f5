"""The kernel's words about an out-of-memory kill, as real ones read, and whatever else a log may
hold.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._linux.kernel_log import Kill, Task, parse

GROUP = "/sys/fs/cgroup/memory/box/pytest-isolate-16404-fab977e1/1"
TABLE = """\
Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name
[  16464]     0 16464    66110     7558     6338     1220         0   147456        0             0 python3
[  16467]     0 16467    23600    11901    11150      751         0   167936        0             0 a name (odd)
"""
KILLED = (
    "Memory cgroup out of memory: Killed process 16467 (a name (odd)) total-vm:94400kB,"
    " anon-rss:44600kB, file-rss:3004kB"
)


def log(group: str) -> list[str]:
    line = f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={group},task_memcg={group},task=x,pid=1"
    return [*TABLE.splitlines(), line, KILLED]


def test_victim_and_table_are_those_of_the_asked_group():
    """Another sandbox's kill is not ours, of whatever run, and the first of ours counts."""
    other = "/box/pytest-isolate-16404-fab977e1/11"
    kill = parse([*log(other), "noise", *log(GROUP.removeprefix("/sys/fs/cgroup/memory"))], GROUP)
    assert kill == Kill(
        16467, (Task(16467, "a name (odd)", 11901 * 4096), Task(16464, "python3", 7558 * 4096))
    )
    assert parse(log(other), GROUP) is None


def test_a_log_without_a_table_still_names_the_victim():
    """``vm.oom_dump_tasks=0``."""
    assert parse(log("/pytest-isolate-16404-fab977e1/1")[4:], GROUP) == Kill(16467, ())


def test_a_kill_is_known_before_the_kernel_says_that_it_is_done():
    """It is counted before the last line is written, and the line before names whom it has chosen;
    a name may look like that line.
    """
    chosen = f"{log('/pytest-isolate-16404-fab977e1/1')[4].removesuffix('x,pid=1')}a,pid=1,uid=2,pid=16467,uid=0"
    assert parse([*TABLE.splitlines(), chosen], GROUP) == parse(
        [*TABLE.splitlines(), chosen, KILLED], GROUP
    )
    assert parse([chosen], GROUP) == Kill(16467, ())


@given(st.lists(st.text() | st.sampled_from(log("/x/1"))))
def test_no_log_breaks_the_reading(records):
    """Names in it are a test's to choose."""
    kill = parse(records, "/sys/fs/cgroup/x/1")
    assert kill is None or all(task.name.isprintable() for task in kill.tasks)
