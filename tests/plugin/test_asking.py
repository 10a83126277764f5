"""Keywords, options and what this machine cannot give: said in sentences, and the other tests run
on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import PYTEST


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        (
            "memoy='1G'",
            (
                "isolate: memoy='1G' (by @isolate on function *::test_bad): there is no such"
                " keyword (did you mean 'memory'?); there are net, forward, memory,*"
            ),
        ),
        (
            "memory='64MB'",
            (
                "isolate: memory='64MB' (by @isolate on function *): 'MB' could mean 1000 or 1024:"
                " write '64M' or '64MiB'"
            ),
        ),
        (
            "memory=-1",
            (
                "isolate: memory=-1 (by @isolate on function *): it must be at least 8 MiB: with"
                " less no test can run"
            ),
        ),
        (
            "timeout='soon'",
            (
                "isolate: timeout='soon' (by @isolate *): it must be a number of seconds,"
                " or text such as '250ms', '5s' or '2m'"
            ),
        ),
        (
            "pids=0",
            (
                "isolate: pids=0 (by @isolate on function *): it must be a whole number, at least"
                " 1: the test itself is one"
            ),
        ),
        (
            "net='maybe'",
            (
                "isolate: net='maybe' (by @isolate on function *): it must be True (*), 'deny' (*),"
                " 'host' or False (*) or a pytest_isolate.Network (*)"
            ),
        ),
        (
            "bind=['/no/such']",
            (
                "isolate: bind=[[]'/no/such'[]] (by @isolate *): it must be a list of paths that"
                " exist; '/no/such' does not"
            ),
        ),
        (
            "profile='none'",
            (
                "isolate: profile='none' (by @isolate on function *): it is not defined in *, which"
                " has: none"
            ),
        ),
        (
            "fs='loop'",
            (
                "isolate: fs='loop' (by @isolate on function *): it must be 'overlay', 'readonly'"
                " or 'host'"
            ),
        ),
        (
            "user='nobody-here'",
            (
                "isolate: user='nobody-here' (by @isolate *): it must be a user of this machine,"
                " and none has that name"
            ),
        ),
        (
            "env={'A': 1}",
            (
                "isolate: env={'A': 1} (by @isolate on function *): it must be a dict of variable"
                " names to text*"
            ),
        ),
    ],
)
def test_a_bad_keyword_is_an_error_of_that_test_alone(pytester, isolated, keywords, said):
    """One sentence with keyword, value, origin and what is allowed; an xfail does not hide it."""
    pytester.makepyfile(
        "import pytest\nfrom pytest_isolate import"
        f" isolate\n@pytest.mark.xfail\n@isolate({keywords})\ndef test_bad(): pass\n@isolate\ndef"
        " test_good(): pass"
    )
    result = isolated()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([said])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "--isolate-memory=64MB",
            "*isolate: memory='64MB' (on the command line as --isolate-memory)*",
        )
    ],
)
def test_a_bad_option_ends_the_run_before_it_starts(pytester, isolated, option, said):
    """A default for all tests that nobody can obey is a usage error."""
    pytester.makepyfile("def test_a(): pass")
    result = isolated(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_the_nearest_value_wins_keyword_by_keyword(pytester, isolated):
    """Function over class over command line over ini file over default, and a profile stands where
    it is named.
    """
    pytester.makepyprojecttoml("""
        [tool.pytest.ini_options]
        isolate_hostname = "ini"
        isolate_timeout = "50s"
        [tool.pytest_isolate.profiles.small]
        hostname = "profile"
        files = 100
        """)
    pytester.makepyfile(
        """
        import os, pytest, resource
        from pytest_isolate import isolate
        name = lambda: os.uname().nodename
        @isolate
        def test_line(): assert name() == "line"
        @isolate(hostname="class")
        class TestC:
            @isolate(hostname="inner")
            @isolate(hostname="outer")
            def test_function(self): assert name() == "outer"
            def test_class(self): assert name() == "class"
            @isolate(profile="small")
            def test_profile(self): assert (name(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]) == ("profile", 100)
            @isolate(profile="small", hostname="mine")
            def test_own(self): assert name() == "mine"
        """.replace(
            '@isolate(hostname="inner")\n            @isolate(hostname="outer")',
            '@isolate(hostname="inner")\n            @isolate(hostname="outer")',
        )
    )
    isolated("--isolate-hostname=line").assert_outcomes(passed=5)


def test_env_and_clean_environment(pytester, isolated, monkeypatch):
    """Variables are added and removed; ``"clean"`` leaves the few that programs need."""
    monkeypatch.setenv("FROM_OUTSIDE", "1")
    pytester.makepyfile("""
        import os
        from pytest_isolate import isolate
        @isolate(env={"ADDED": "2", "FROM_OUTSIDE": None})
        def test_env(): assert os.environ["ADDED"] == "2" and "FROM_OUTSIDE" not in os.environ
        @isolate(env="clean")
        def test_clean():
            assert "FROM_OUTSIDE" not in os.environ and "PATH" in os.environ and "PYTEST_CURRENT_TEST" in os.environ
        """)
    isolated().assert_outcomes(passed=2)


@pytest.mark.parametrize("env", ["'clean'", "{'TOKEN': None}"])
@pytest.mark.parametrize("more", ["", ", profile='strict'", ", user='nobody'"])
def test_what_was_removed_is_nowhere_to_be_read(pytester, isolated, monkeypatch, env, more):
    """The kernel shows what a program was started with, whatever became of it; C code and programs
    still find what is left.
    """
    if "user" in more and os.geteuid() != 0:
        pytest.skip("for the run as root")
    monkeypatch.setenv("TOKEN", "very secret")
    pytester.makepyfile(f"""
        import ctypes, glob, os, subprocess
        from pytest_isolate import isolate
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        @isolate(env={env}{more})
        def test_it():
            shown = dict(each.split(b"=", 1) for each in open("/proc/self/environ", "rb").read().split(b"\\0") if each)
            assert b"TOKEN" not in shown
            assert shown[b"PATH"] == os.environb[b"PATH"] == getenv(b"PATH")
            assert set(shown) <= set(os.environb)
            assert getenv(b"TOKEN") is None
            assert "PATH=" in subprocess.run(["env"], stdout=subprocess.PIPE, text=True, check=True).stdout
    """)
    isolated().assert_outcomes(passed=1)


@pytest.mark.needs("root")
def test_a_test_may_run_as_somebody_else(pytester, isolated):
    """``user`` changes ids and groups, and ``tmp_path`` is theirs."""
    pytester.makepyfile("""
        import os
        from pytest_isolate import isolate
        @isolate(user="nobody")
        def test_nobody(tmp_path):
            (tmp_path / "x").write_text("mine")
            assert os.getuid() == (tmp_path / "x").stat().st_uid != 0
        """)
    isolated().assert_outcomes(passed=1)


@pytest.mark.needs("user")
def test_an_ordinary_user_can_be_root_inside(pytester, isolated):
    """``user="root"`` without root: uid 0 of the sandbox's own user namespace, good for a mount."""
    pytester.makepyfile("""
        import os, subprocess
        from pytest_isolate import isolate
        @isolate(user="root")
        def test_root():
            assert os.getuid() == 0
            subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True)
        """)
    isolated().assert_outcomes(passed=1)


@pytest.fixture
def no_network_namespaces(pytester):
    """Run pytest where the kernel refuses network namespaces: a user namespace of its own whose
    limit of them is 0.
    """

    def run(*args: str) -> pytest.RunResult:
        command = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
        return pytester.run(
            "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, "sh",
            *PYTEST, *args,
        )  # fmt: skip

    return run


def test_a_sandbox_that_cannot_be_built_is_an_error_with_its_step(pytester, no_network_namespaces):
    """It names step and errno in words with the remedy, and no xfail covers it; what can be built
    is.
    """
    pytester.makepyfile("""
        import pytest
        from pytest_isolate import isolate
        @pytest.mark.xfail
        @isolate
        def test_net(): pass
        @isolate(net=False)
        def test_without(): pass
        """)
    result = no_network_namespaces()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "isolate: this machine cannot give the test a sandbox: clone into new namespaces:"
                " limit exceeded*ENOSPC*remedy: *"
            )
        ]
    )


@pytest.mark.parametrize(
    ("on_missing", "expected"), [("skip", {"skipped": 1}), ("warn", {"passed": 1, "warnings": 1})]
)
def test_on_missing_says_what_happens_then(pytester, no_network_namespaces, on_missing, expected):
    """A missing capability skips with its reason, or runs the test without, with a warning that
    says so.
    """
    pytester.makepyfile("from pytest_isolate import isolate\n@isolate\ndef test_net(): pass")
    result = no_network_namespaces("-rs", f"--isolate-on-missing={on_missing}")
    if on_missing == "skip":
        result.stdout.fnmatch_lines(
            [
                (
                    "SKIPPED [[]1[]] test_on_missing_says_what_happens_then.py:*: this machine cannot"
                    " give the test a sandbox: *"
                )
            ]
        )
    else:
        result.stdout.fnmatch_lines(
            [
                (
                    "*PytestWarning: isolate: the test runs with net='host' instead of True: clone into"
                    " new namespaces: limit exceeded*"
                )
            ]
        )
    result.assert_outcomes(**expected)


def test_a_missing_controller_is_never_a_silent_downgrade(pytester, isolated, host):
    """A limit without its control group is an error that names the obstacle and the command that
    helps.
    """
    if "memory" in host.places:
        pytest.skip("this caller has the memory controller")
    pytester.makepyfile(
        "from pytest_isolate import isolate\n@isolate(memory='64M')\ndef test_a(): pass"
    )
    result = isolated()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["isolate: *this machine cannot give memory=64 MiB (by @isolate*remedy: *"]
    )


def test_the_doctor_names_every_capability(pytester, isolated, host):
    """One line each, PASS or FAIL with the command that fixes it; the exit status says whether all
    is there.
    """
    result = isolated("--isolate-doctor")
    lines = result.outlines
    for name in ("namespaces", "net", "overlay", "readonly", "disk", "memory", "pids", "cpu"):
        assert any(line.split(":")[0] in {f"PASS  {name}", f"FAIL  {name}"} for line in lines), (
            lines
        )
    assert result.ret == (0 if not any(line.startswith("FAIL") for line in lines) else 1)
    shown = [line[:4] for line in lines if line[:6] in {"PASS  ", "FAIL  ", "NOTE  "}]
    counted = f"{shown.count('PASS')} of {len(shown)} capabilities are available here"
    (said,) = [line for line in lines if line.startswith(counted)]
    assert said.endswith(" not") is ("FAIL" in shown)
    assert ("PASS  memory" in result.stdout.str()) is ("memory" in host.places)


def test_the_doctor_finds_what_is_missing(no_network_namespaces):
    """Where network namespaces are refused, that is what FAILs."""
    result = no_network_namespaces("--isolate-doctor")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["PASS  namespaces", "FAIL  net: clone into*", "      fix: *", "PASS  overlay"]
    )


def test_the_other_plugin_of_this_name_is_refused(pytester, isolated, monkeypatch):
    """Both install a package ``pytest_isolate``: the error names the other and the fix."""
    metadata = pytester.mkdir("site") / "pytest_isolate-0.0.13.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pytest-isolate\nVersion: 0.0.13\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(metadata.parent), prepend=os.pathsep)
    result = isolated()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*pytest-isolate 0.0.13 is installed beside pytest-isolate-ns*pip uninstall*"]
    )


def test_a_report_path_that_cannot_be_written_fails_at_the_start(pytester, isolated):
    """Not after an hour of tests."""
    pytester.makepyfile("def test_a(): pass")
    result = isolated("--isolate-report=/dev/null/report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                "*--isolate-report=/dev/null/report.json: /dev/null/report.json cannot be written: Not"
                " a directory*"
            )
        ]
    )


def test_it_loads_by_name_without_autoload(pytester, monkeypatch):
    """``pytest -p isolate`` under PYTEST_DISABLE_PLUGIN_AUTOLOAD."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("import os\ndef test_a(): assert os.getpid() == 2")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "isolate", "--isolate-all"],
        cwd=pytester.path,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_a_nested_run_isolates_again(pytester, isolated):
    """Pytest with this plugin works inside one of its own sandboxes."""
    inner = pytester.mkdir("inner") / "test_inner.py"
    inner.write_text("import os\ndef test_a(tmp_path): assert os.getpid() == 2\n")
    pytester.makepyfile(f"""
        import subprocess, sys
        def test_outer():
            command = [sys.executable, "-m", "pytest", "-p", "isolate", "--isolate-all", {str(inner)!r}]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout
        """)
    isolated("--isolate-all", "test_a_nested_run_isolates_again.py").assert_outcomes(passed=1)
    assert Path(inner).exists()


def test_a_limit_of_files_that_nobody_may_have_is_an_error_in_words(pytester, isolated):
    """More than the kernel gives any process, root's too."""
    pytester.makepyfile("def test_a(): pass")
    result = isolated("--isolate-all", "--isolate-files=4000000")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["isolate: the sandbox broke: limit open files to 4000000: not permitted [[]EPERM[]]*"]
    )


def test_a_working_directory_that_is_gone_is_an_error_in_words(pytester, isolated):
    """Every test behind it says so, and none that the plugin itself failed."""
    pytester.makepyfile("""
        import os, pytest
        @pytest.fixture(scope="module")
        def nowhere(tmp_path_factory):
            directory = tmp_path_factory.mktemp("nowhere")
            os.chdir(directory)
            os.rmdir(directory)
        def test_before(): pass
        def test_behind(nowhere): pass
        def test_further(nowhere): pass
        """)
    result = isolated("--isolate-all")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        ["isolate: the sandbox could not be built: find the directory in which pytest stands*"]
    )
    result.stdout.no_fnmatch_line("*itself failed*")
