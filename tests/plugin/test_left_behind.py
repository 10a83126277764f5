"""Who counts as left behind when a test is over, and who is only on the way out."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

POOL = "import time; print('ready', flush=True); time.sleep(1234)"


def test_a_tracker_of_resources_is_not_left_behind(pytester, isolated):
    """Multiprocessing's lives until its last user is gone: who keeps it alive is named, not the
    tracker.
    """
    pytester.makepyfile("""
        import subprocess
        from multiprocessing import resource_tracker
        from pytest_isolate import isolate
        pytestmark = isolate(leaks="error")
        def test_alone(): resource_tracker.ensure_running()
        def test_kept_alive():
            resource_tracker.ensure_running()
            subprocess.Popen(["sleep", "1234"], pass_fds=[resource_tracker._resource_tracker._fd])
    """)
    result = isolated()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["E   ProcessesLeaked: left 1 process behind, which was killed: sleep 1234 (pid *"]
    )
    result.stdout.no_fnmatch_line("*behind*resource_tracker*")


@pytest.mark.parametrize("package", ["loky", "joblib.externals.loky"])
def test_a_pool_that_lives_as_long_as_its_interpreter_is_not_left_behind(
    pytester, isolated, package
):
    """Joblib keeps one for the next Parallel(); what else a test starts is named beside it.

    All are killed.
    """
    name = f"{package}.backend.popen_loky_posix"
    module = pytester.path.joinpath(*name.split(".")).with_suffix(".py")
    module.parent.mkdir(parents=True)
    for parent in list(module.relative_to(pytester.path).parents)[:-1]:
        # Not a namespace, before which a joblib that is installed would come
        pytester.path.joinpath(parent, "__init__.py").touch()
    module.write_text(POOL)
    pytester.makepyfile(f"""
        import os, subprocess, sys
        from pytest_isolate import isolate
        def start(*arguments):
            assert subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE).stdout.readline() == b"ready\\n"
        @isolate(leaks="error", net=False)
        def test_pool(): start("-m", {name!r})
        @isolate(leaks="error")
        def test_pool_and_another():
            start("-m", {name!r})
            start("-c", {POOL!r}, "another")
    """)
    result = isolated()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["E   ProcessesLeaked: left 1 process behind, which was killed: *another (pid *"]
    )


@pytest.mark.needs("cpu")
def test_who_ends_with_the_test_is_waited_for_as_long_as_it_has_not_had_its_time_of_a_processor(
    pytester, isolated
):
    """As on a machine that is busy: with a fortieth of a processor 20 ms of work after the test's
    end take 0.8 s.
    """
    pytester.makepyfile("""
        import os, time
        from pytest_isolate import isolate
        @isolate(cpu=0.025, leaks="error")
        def test_it():
            until_the_end, kept = os.pipe()
            if os.fork() == 0:
                os.close(kept)
                os.read(until_the_end, 1)
                begin = time.process_time()
                while time.process_time() < begin + 0.02: pass
                os._exit(0)
    """)
    isolated().assert_outcomes(passed=1)


def test_who_is_busy_and_stays_is_named(pytester, isolated):
    """Its time is over when it has run for as long as another may sleep."""
    pytester.makepyfile("""
        import subprocess
        from pytest_isolate import isolate
        @isolate(leaks="error")
        def test_it(): subprocess.Popen(["sh", "-c", "while :; do :; done"])
    """)
    result = isolated()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*left 1 process behind, which was killed: sh -c while :; do :; done (pid *"]
    )
