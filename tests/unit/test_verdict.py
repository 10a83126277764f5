"""From the evidence of a test that is over to a judgement in sentences."""

import fnmatch
import signal

import pytest

from pytest_isolate import _violations
from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.counters import Counters
from pytest_isolate._sandbox.result import ProcessResult
from pytest_isolate._verdict.evidence import Evidence
from pytest_isolate._verdict.judging import judge
from pytest_isolate._verdict.rules import RULES, leak_sentence

ENTERED, END = {"kind": "entered", "pid": 5}, {"kind": "end"}
HERE = "by @isolate on function t.py::test_it"
MB = 1 << 20


def spec(**keywords):
    return Spec(
        **{name: keyword.default for name, keyword in KEYWORDS.items()} | keywords,
        origins=dict.fromkeys(keywords, HERE),
    )


def report(when, *seen):
    return {"kind": "report", "when": when, "report": {}, "seen": list(seen)}


def evidence(*reports, ended=True, entered=True, counters=None, disk=0, full="", base=0, **exit_):
    """Evidence of a test with these reports; by default it ran to its end and left nothing."""
    frames = [ENTERED] * entered + list(reports) + [END] * ended
    exit_ = {"status": 0, "wall_seconds": 1.5} | exit_
    reported = tuple(each["when"] for each in reports)
    return Evidence(
        ProcessResult(5, frames=frames, **exit_),
        counters or Counters(),
        disk,
        full,
        base,
        reported=reported,
    )


ALL_PHASES = (report("setup"), report("call"), report("teardown"))
SETUP, SETUP_CALL = ALL_PHASES[:1], ALL_PHASES[:2]
ALL_LIMITS = {"memory": MB, "pids": 5, "disk": MB, "files": 64, "timeout": 5.0, "leaks": "error"}


def only(verdict):
    (violation,) = verdict.violations
    return violation


def test_a_test_that_ran_to_its_end_within_its_limits_is_ok():
    """Whether it passed or failed is pytest's business: nothing was exceeded, nothing broke."""
    verdict = judge(
        spec(**ALL_LIMITS),
        evidence(
            *ALL_PHASES, counters=Counters(oom_kills=0, pids_denied=0, pids_peak=5, memory_peak=MB)
        ),
    )
    assert (verdict.kind, verdict.violations, verdict.broken, verdict.dead_in) == (
        "ok",
        (),
        None,
        None,
    )


@pytest.mark.parametrize("status", [0, 1 << 8, signal.SIGTERM])
def test_what_a_process_does_after_its_end_is_no_crash(status):
    """Once the end is said, an exit status of whatever number means nothing."""
    assert judge(spec(), evidence(*ALL_PHASES, status=status)).kind == "ok"


def test_memory_names_limit_origin_use_and_who_was_killed():
    """The contract's sentence; what the sandbox itself costs is not the test's use."""
    counters = Counters(oom_kills=1, memory_peak=70 * MB)
    verdict = judge(
        spec(memory=64 * MB),
        evidence(*SETUP, ended=False, status=signal.SIGKILL, counters=counters, base=10 * MB),
    )
    violation = only(verdict)
    assert (
        str(violation)
        == "used 60 MiB of 64 MiB and wanted more, so the kernel killed the test's own process"
        f" (memory=64 MiB, set {HERE})"
    )
    assert type(violation) is _violations.MemoryExceeded
    assert (violation.resource, violation.phase, violation.limit, violation.used) == (
        "memory",
        "call",
        64 * MB,
        60 * MB,
    )
    assert (verdict.kind, verdict.dead_in) == ("violation", "call")


@pytest.mark.parametrize(
    "how", [{"ended": True}, {"ended": False, "killed_child": True, "status": signal.SIGKILL}]
)
def test_memory_of_a_child_is_said_to_be_the_childs(how):
    """A killed child is a violation even if the test caught it and went on, and also when we ended
    the test for it.
    """
    violation = only(
        judge(
            spec(memory=64 * MB),
            evidence(*ALL_PHASES, counters=Counters(oom_kills=3, memory_peak=64 * MB), **how),
        )
    )
    said = "the kernel killed a process that the test had started (memory=64 MiB, set "
    assert said in str(violation)


def test_pids_counts_what_ran_and_what_was_refused():
    """The contract's sentence, with the peak where this kernel has one."""
    violation = only(
        judge(spec(pids=5), evidence(*ALL_PHASES, counters=Counters(pids_denied=2, pids_peak=5)))
    )
    assert (
        str(violation) == "wanted 2 more than 5 processes and threads, which the kernel refused"
        f" (pids=5, set {HERE})"
    )
    assert type(violation) is _violations.PidsExceeded
    assert (violation.resource, violation.limit, violation.used) == ("pids", 5, 5)


def test_pids_without_a_peak_makes_none_up():
    """Older kernels have no pids.peak: the sentence does without, and what was used is unknown."""
    violation = only(judge(spec(pids=5), evidence(*ALL_PHASES, counters=Counters(pids_denied=2))))
    assert (
        str(violation) == "wanted 2 more than 5 processes and threads, which the kernel refused"
        f" (pids=5, set {HERE})"
    )
    assert violation.used is None


@pytest.mark.parametrize("how", [{"full": "bytes"}, {}])
def test_disk_is_exceeded_when_it_is_full_or_was_seen_to_be(how):
    """A file system without a free block, or ENOSPC that the test met and caught."""
    reports = (report("setup"), report("call", *([] if how else ["ENOSPC"])), report("teardown"))
    violation = only(judge(spec(disk=MB), evidence(*reports, disk=MB - 4096, **how)))
    assert (
        str(violation) == "wrote 1020 KiB of 1 MiB and wanted more, which the kernel refused"
        f" (disk=1 MiB, set {HERE})"
    )
    assert type(violation) is _violations.DiskExceeded
    assert (violation.resource, violation.limit, violation.used) == ("disk", MB, MB - 4096)


@pytest.mark.parametrize(
    ("full", "said"),
    [
        ("files", "made all 2048 files and directories that it may *, with 4 KiB in them, *"),
        (
            "",
            (
                "wanted more than 1 MiB, which the kernel refused; at its end 4 KiB were left: what"
                " it removed and what it printed counted too, and it may make 2048 files and"
                " directories"
            ),
        ),
    ],
)
def test_disk_is_also_a_number_of_files(full, said):
    """Empty files use it up as bytes do, and a sentence about bytes would be a riddle."""
    reports = (report("setup"), report("call", "ENOSPC"), report("teardown"))
    violation = only(judge(spec(disk=MB), evidence(*reports, disk=4096, full=full)))
    assert fnmatch.fnmatch(str(violation), f"{said} (disk=1 MiB, set {HERE})")


def test_files_is_exceeded_when_a_descriptor_was_refused():
    """EMFILE that the test met, even if it caught it."""
    violation = only(
        judge(
            spec(files=64), evidence(report("setup"), report("call", "EMFILE"), report("teardown"))
        )
    )
    assert (
        str(violation)
        == "opened all 64 files that a process may and wanted one more, which the kernel refused"
        f" (files=64, set {HERE})"
    )
    assert type(violation) is _violations.FilesExceeded
    assert (violation.resource, violation.phase, violation.limit) == ("files", "call", 64)


@pytest.mark.parametrize("kind", ["memory", "pids", "disk", "files"])
def test_a_denial_without_a_limit_of_ours_is_no_violation(kind):
    """The machine's own limits are its own: a test that met them without having asked for one is
    judged by pytest alone.
    """
    others = {name: value for name, value in ALL_LIMITS.items() if name != kind}
    denied = {
        "memory": evidence(*ALL_PHASES, counters=Counters(oom_kills=1)),
        "pids": evidence(*ALL_PHASES, counters=Counters(pids_denied=1)),
        "disk": evidence(report("call", "ENOSPC"), report("teardown"), full=True),
        "files": evidence(report("call", "EMFILE"), report("teardown")),
    }[kind]
    assert judge(spec(**others), denied).kind == "ok"
    assert only(judge(spec(**ALL_LIMITS), denied)).resource == kind


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
@pytest.mark.parametrize(
    ("keyword", "seen"),
    [("memory", "oom"), ("pids", "pids"), ("disk", "ENOSPC"), ("files", "EMFILE")],
)
def test_a_violation_is_of_the_first_phase_that_saw_it(phase, keyword, seen):
    """What was seen in a phase is still seen in the later ones: the first one counts."""
    order = ["setup", "call", "teardown"]
    reports = [
        report(each, *([seen] if order.index(each) >= order.index(phase) else [])) for each in order
    ]
    counters = Counters(oom_kills=1, pids_denied=1, memory_peak=MB)
    assert (
        only(
            judge(spec(**{keyword: ALL_LIMITS[keyword]}), evidence(*reports, counters=counters))
        ).phase
        == phase
    )


@pytest.mark.parametrize("seen", [None, 5, "ENOSPC", {"ENOSPC": 1}, [["ENOSPC"]], [None]])
def test_a_child_that_lies_about_what_it_saw_harms_nobody(seen):
    """A frame's content is a child's word: what is not a list of names is not believed and raises
    nothing.
    """
    frame = {"kind": "report", "when": "call", "seen": seen}
    assert judge(spec(disk=MB), evidence(frame, report("teardown"))).kind == "ok"
    assert (
        only(judge(spec(disk=MB), evidence(frame, report("teardown"), full=True))).phase
        == "teardown"
    )


@pytest.mark.parametrize("reports", [(), SETUP, SETUP_CALL])
def test_an_end_without_a_teardown_is_a_crash(reports):
    """An end frame alone is no success: whoever says it without the reports before it is gone."""
    assert only(judge(spec(), evidence(*reports))).resource == "crash"


@pytest.mark.parametrize(
    ("reports", "phase"),
    [((), "setup"), (SETUP, "call"), (SETUP_CALL, "teardown"), (ALL_PHASES, "teardown")],
)
def test_a_test_dies_in_the_phase_after_its_last_report(reports, phase):
    """Which phase a process was in that no longer speaks; after the last one there is none but the
    last.
    """
    verdict = judge(spec(), evidence(*reports, ended=False, status=signal.SIGSEGV))
    assert (verdict.kind, verdict.dead_in, only(verdict).phase) == ("crash", phase, phase)


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (signal.SIGSEGV, "was ended by signal 11 (SIGSEGV, Segmentation fault)"),
        (signal.SIGABRT | 0x80, "was ended by signal 6 (SIGABRT, Aborted)"),
        (40, "was ended by signal 40"),
        (
            0,
            (
                "exited with status 0 (by os._exit, by running another program in its place, or"
                " because its descriptors were closed)"
            ),
        ),
        (
            3 << 8,
            (
                "exited with status 3 (by os._exit, by running another program in its place, or"
                " because its descriptors were closed)"
            ),
        ),
        (
            None,
            (
                "ended (how is not known: something else in this pytest took its exit status, or a"
                " process of pytest-isolate that would know was killed)"
            ),
        ),
    ],
)
def test_a_crash_says_how_the_process_ended(status, ending):
    """By which signal, or with which status; a silent exit with 0 is a crash like any other."""
    violation = only(judge(spec(), evidence(*SETUP, ended=False, status=status)))
    assert str(violation) == f"its process {ending} in call, before pytest had finished with it"
    assert type(violation) is _violations.Crashed
    assert (violation.resource, violation.limit, violation.used) == ("crash", None, None)


def test_a_crash_points_to_its_stack():
    """Where faulthandler could still write one, the sentence says so."""
    verdict = judge(
        spec(), evidence(*SETUP, ended=False, status=signal.SIGSEGV, stacks="Fatal Python error")
    )
    assert str(only(verdict)).endswith(
        ", before pytest had finished with it; its Python stack is below"
    )


def test_garbled_frames_are_a_crash_even_after_an_end():
    """A result pipe that somebody else wrote to proves nothing, whatever it also says."""
    verdict = judge(spec(), evidence(*SETUP, garbled="a frame is not an object with a kind"))
    assert (
        str(only(verdict))
        == "its process wrote what cannot be read: a frame is not an object with a kind"
    )
    assert (verdict.kind, verdict.dead_in) == ("crash", "call")


def test_a_crash_for_a_known_reason_is_that_reason_only():
    """A test that the kernel killed for its memory did not crash as well."""
    verdict = judge(
        spec(memory=MB),
        evidence(*SETUP, ended=False, status=signal.SIGKILL, counters=Counters(oom_kills=1)),
    )
    assert [type(each) for each in verdict.violations] == [_violations.MemoryExceeded]


@pytest.mark.parametrize(
    ("stacks", "end"),
    [
        ("Thread 1", "every thread's stack is below"),
        ("", "there is no stack, because its process blocks signals or was stopped"),
    ],
)
def test_a_timeout_names_limit_origin_phase_and_time(stacks, end):
    """The contract's sentence, with what is known of the stacks."""
    verdict = judge(
        spec(timeout=5.0),
        evidence(
            *SETUP,
            ended=False,
            status=signal.SIGKILL,
            timed_out=True,
            wall_seconds=5.02,
            stacks=stacks,
        ),
    )
    violation = only(verdict)
    assert (
        str(violation)
        == f"took more than 5 s: it was still in call after 5.02 s and was killed; {end}"
        f" (timeout=5 s, set {HERE})"
    )
    assert type(violation) is _violations.TimeoutExceeded
    assert (violation.resource, violation.phase, violation.limit, violation.used) == (
        "timeout",
        "call",
        5.0,
        5.02,
    )
    assert (verdict.kind, verdict.dead_in) == ("timeout", "call")


def test_a_timeout_after_another_violation_says_both():
    """A fork bomb that never ends is both; the verdict is the one that ended it."""
    how = {
        "ended": False,
        "status": signal.SIGKILL,
        "timed_out": True,
        "counters": Counters(pids_denied=9),
    }
    verdict = judge(spec(timeout=5.0, pids=5), evidence(*SETUP, **how))
    assert [each.resource for each in verdict.violations] == ["pids", "timeout"]
    assert verdict.kind == "timeout"


def test_processes_left_behind_are_a_violation_where_they_are_errors():
    """leaks="error": the sentence names each, the verdict is a violation of the last phase."""
    verdict = judge(spec(leaks="error"), evidence(*ALL_PHASES, left_over=[(7, "sleep 99")]))
    violation = only(verdict)
    assert (
        str(violation)
        == f"left 1 process behind, which was killed: sleep 99 (pid 7) (leaks='error', set {HERE})"
    )
    assert type(violation) is _violations.ProcessesLeaked
    assert (violation.resource, violation.phase, violation.limit, violation.used) == (
        "processes",
        "teardown",
        0,
        1,
    )
    assert verdict.kind == "violation"


@pytest.mark.parametrize("leaks", ["warn", "ignore"])
def test_processes_left_behind_are_no_violation_otherwise(leaks):
    """They are killed whatever the keyword says, and only said."""
    assert judge(spec(leaks=leaks), evidence(*ALL_PHASES, left_over=[(7, "sleep 99")])).kind == "ok"


@pytest.mark.parametrize(("count", "end"), [(5, "p5 (pid 5) ("), (6, "p5 (pid 5) and 1 more (")])
def test_at_most_five_processes_are_named(count, end):
    """A fork bomb does not fill the screen."""
    said = leak_sentence(
        spec(leaks="warn"),
        ProcessResult(5, left_over=[(number, f"p{number}") for number in range(1, count + 1)]),
    )
    assert said.startswith(
        f"left {count} processes behind, which were killed: p1 (pid 1); p2 (pid 2); "
    )
    assert f"{end}leaks='warn', set {HERE})" in said


def test_a_leak_does_not_hide_what_ended_the_test():
    """The verdict of a violation stays what it was; the leak comes after it."""
    verdict = judge(
        spec(leaks="error", pids=5),
        evidence(*ALL_PHASES, counters=Counters(pids_denied=1), left_over=[(7, "sleep")]),
    )
    assert [each.resource for each in verdict.violations] == ["pids", "processes"]
    assert verdict.kind == "violation"


def test_a_broken_sandbox_names_step_path_and_errno_and_accuses_nobody():
    """What broke the sandbox and what broke the test never meet: there are no violations, whatever
    the counters say.
    """
    broken = {"kind": "broken", "step": "join", "path": "the sandbox's namespaces", "errno": 1}
    found = evidence(
        entered=False,
        ended=False,
        status=1 << 8,
        counters=Counters(oom_kills=1, pids_denied=1),
        full=True,
    )
    found.process.frames = [broken]
    verdict = judge(spec(memory=MB, pids=5, disk=MB), found)
    assert (verdict.kind, verdict.violations, verdict.dead_in) == ("sandbox_error", (), None)
    assert verdict.broken == "join the sandbox's namespaces: not permitted [EPERM]"


@pytest.mark.parametrize(
    "broken", [{}, {"errno": "1"}, {"step": None, "path": ["x"], "errno": None}]
)
def test_a_broken_frame_of_another_form_is_still_a_broken_sandbox(broken):
    """Nothing that a child writes makes the judge raise."""
    found = evidence(entered=False, ended=False, status=1 << 8)
    found.process.frames = [{"kind": "broken", **broken}]
    assert judge(spec(), found).kind == "sandbox_error"


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (signal.SIGKILL, "was ended by signal 9 (SIGKILL, Killed)"),
        (
            1 << 8,
            (
                "exited with status 1 (by os._exit, by running another program in its place, or"
                " because its descriptors were closed)"
            ),
        ),
    ],
)
def test_a_process_that_never_entered_is_a_broken_sandbox(status, ending):
    """Before the test's own code ran, nothing can be the test's fault."""
    verdict = judge(
        spec(memory=MB),
        evidence(entered=False, ended=False, status=status, counters=Counters(oom_kills=1)),
    )
    assert (verdict.kind, verdict.violations) == ("sandbox_error", ())
    assert verdict.broken == f"the test's process {ending} before the test's own code ran"


def test_what_is_not_measured_is_none():
    """A figure that this machine cannot measure is None, never 0."""
    usage = judge(spec(), evidence(*ALL_PHASES)).usage
    assert (
        usage.cpu_seconds,
        usage.memory_peak_bytes,
        usage.pids_peak,
        usage.io_read_bytes,
        usage.io_write_bytes,
    ) == (None,) * 5
    assert (usage.wall_seconds, usage.disk_bytes) == (1.5, 0)


@pytest.mark.parametrize(("peak", "base", "used"), [(70, 10, 60), (10, 10, 0), (9, 10, 0)])
def test_memory_used_is_what_came_on_top_of_the_sandboxs_own(peak, base, used):
    """A reading below the base is none used, not less than none."""
    counters = Counters(memory_peak=peak, cpu_seconds=0.5, pids_peak=3)
    usage = judge(spec(), evidence(*ALL_PHASES, counters=counters, base=base)).usage
    assert (usage.memory_peak_bytes, usage.cpu_seconds, usage.pids_peak) == (used, 0.5, 3)


def test_every_limit_that_ends_or_refuses_something_has_a_rule_with_an_exception_of_its_own():
    """``cpu``, ``io_read`` and ``io_write`` slow a test down: nothing is refused, and there is
    nothing to tell.
    """
    kinds = {rule.keyword: rule.kind for rule in RULES}
    limits = {name for name, keyword in KEYWORDS.items() if keyword.is_limit}
    assert limits - {"cpu", "io_read", "io_write"} == kinds.keys() - {"net", "fs_allow"}
    assert len(set(kinds.values())) == len(kinds)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind.__name__)
def test_no_rule_speaks_of_a_limit_that_nobody_set(rule):
    """Whatever the evidence: without the keyword there is nothing to overstep."""
    counters = Counters(oom_kills=1, pids_denied=1, cpu_seconds=9.0)
    found = evidence(
        report("call", "oom", "ENOSPC", "EMFILE", "network"), counters=counters, memory_exceeded=5
    )
    found.attempts, found.disk_full = (), "bytes"
    assert rule.violation(spec(), found, "call") is None
