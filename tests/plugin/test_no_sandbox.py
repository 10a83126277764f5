"""A run in which sandboxes could not be built: counted, said first, and why."""

from __future__ import annotations

import json

import pytest

TESTS = """
import pytest
from pytest_isolate import isolate
@isolate
@pytest.mark.parametrize("number", range(4))
def test_it(number): pass
"""
WITHOUT_NAMESPACES = (
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"',
    "sh",
)
REMEDY = "sudo sysctl -w user.max_user_namespaces="


@pytest.fixture
def without_namespaces(pytester, monkeypatch):
    """Run pytest where no user namespace can be made; a user namespace is what this one has instead
    of root.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(*args):
        command = (*pytester._getpytestargs(), "-p", "isolate", "-p", "no:cacheprovider", *args)
        return pytester.run(*WITHOUT_NAMESPACES, *map(str, command), timeout=120)

    return run


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n1")])
def test_a_run_without_sandboxes_says_so_first_and_why(pytester, without_namespaces, workers):
    """In the terminal's section once, with the tests; in the report for each test; what helps in
    the first test's error only, to which the others and the section lead.
    """
    pytester.makepyfile(test_it=TESTS)
    result = without_namespaces("--isolate-report=report.json", *workers)
    result.assert_outcomes(errors=4)
    # pytest's summary, which is whole in CI
    lines = [line for line in result.outlines if not line.startswith("ERROR ")]
    section = next(number for number, line in enumerate(lines) if line.strip("= ") == "isolate")
    assert lines[section + 1].startswith(
        "4 tests had no sandbox: this machine cannot give the test a sandbox: "
    )
    assert sorted(lines[section + 2 : section + 6]) == [
        f"  test_it.py::test_it[{number}]" for number in range(4)
    ]
    assert sum(REMEDY in line for line in lines) == 1
    assert sum(line.endswith("(what helps: see test_it.py::test_it[0])") for line in lines) == 4
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [(each["verdict"], each["outcome"]) for each in tests] == [
        ("sandbox_error", "error")
    ] * 4
    assert all(REMEDY in each["reason"] for each in tests)


def test_one_test_without_a_sandbox_is_named_beside_those_that_passed(pytester, isolated):
    """A keyword that cannot be obeyed is such an error too; who has a sandbox has no reason."""
    pytester.makepyfile("""
        from pytest_isolate import isolate
        @isolate
        def test_fine(): pass
        @isolate(memory="12MB")
        def test_wrong(): pass
    """)
    result = isolated("--isolate-report=report.json")
    result.assert_outcomes(passed=1, errors=1)
    # Once in full: what one test alone has is no matter of the run
    (_,) = [line for line in result.outlines if line.startswith("isolate: memory='12MB' (by ")]
    result.stdout.no_fnmatch_line("=* isolate =*")
    fine, wrong = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert fine["reason"] is None
    assert wrong["reason"].startswith("memory='12MB' ")


def test_a_limit_on_the_size_of_files_is_named(pytester):
    """A file in memory is one too, and a copy in a sandbox."""
    pytester.makepyfile(test_it=TESTS)
    command = (*map(str, pytester._getpytestargs()), "-p", "isolate", "-p", "no:cacheprovider")
    result = pytester.run(
        "bash", "-c", '(ulimit -f 1; exec "$@") | cat', "bash", *command, timeout=120
    )
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(
        [
            "isolate: *[[]EFBIG]; remedy: *ulimit -f unlimited*",
            "4 tests had no sandbox: *[[]EFBIG] (what helps: see test_it.py::test_it[[]0])",
        ]
    )


def test_a_project_with_its_own_tmp_path_factory(pytester, isolated):
    """Without pytest's: nothing of ours asks for that."""
    pytester.makepyfile("""
        import pytest
        @pytest.fixture(scope="session")
        def tmp_path_factory(): return "ours"
        @pytest.mark.isolate(fs_allow=["built"])
        def test_fails(tmp_path_factory):
            assert tmp_path_factory == "ours"
            open("built", "w").close()
            assert 0
        @pytest.mark.isolate
        def test_passes(tmp_path_factory): pass
    """)
    result = isolated("-p", "no:tmpdir")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*isolate itself failed*")


def test_a_relative_path_is_looked_for_where_pytest_was_started(pytester, isolated):
    pytester.makepyfile("""
        import pytest
        @pytest.mark.isolate(layers=["layer"])
        def test_layers(): pass
        @pytest.mark.isolate(bind=["data"])
        def test_bind(): pass
    """)
    result = isolated()
    for name in ("layer", "data"):
        result.stdout.fnmatch_lines([f"*'{name}' does not, from {pytester.path}"])


def test_a_failing_test_shows_what_it_asked_for(pytester, isolated):
    """Besides limits all that is not as by default, but for variables, which may be secrets."""
    pytester.makepyfile("""
        from pytest_isolate import isolate
        @isolate(bind=["/etc/hosts:ro"], layers=["layer"], user="root", scope="class",
                 profile="strict", env={"TOKEN": "secret"}, fs="readonly", net="deny", pids=20)
        def test_it(): assert 0
    """)
    (pytester.path / "layer").mkdir()
    result = isolated()
    chosen = "net=deny, fs=readonly, layers=*/layer, bind=/etc/hosts:ro, user=root, scope=class"
    result.stdout.fnmatch_lines([f"limits: pids 20; {chosen}, profile=strict"])
    result.stdout.no_fnmatch_line("*secret*limits*")
