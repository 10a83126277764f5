"""What outlives a sandbox goes where plain pytest puts it; everything else does not."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET

import pytest


@pytest.fixture
def cached(pytester, monkeypatch):
    """Run pytest with its cache, everything isolated."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return lambda *args: pytester.runpytest_subprocess(
        "-p", "isolate", "--isolate-all", *args, timeout=120
    )


@pytest.mark.parametrize("fs", ["overlay", "host"])
def test_pytests_cache_is_written_from_inside(pytester, cached, fs):
    """``cache.set`` and ``cache.mkdir`` of one run are there in the next; a value that a test
    replaces is replaced.
    """
    pytester.makepyfile("""
        def test_cache(cache):
            before = cache.get("mine/value", 0)
            cache.set("mine/value", before + 1)
            (cache.mkdir("folder") / "file").write_text("kept")
    """)
    for expected in (1, 2):
        cached(f"--isolate-fs={fs}").assert_outcomes(passed=1)
        assert json.loads((pytester.path / ".pytest_cache/v/mine/value").read_text()) == expected
    assert (pytester.path / ".pytest_cache/d/folder/file").read_text() == "kept"


def test_links_in_the_cache_stay_inside(pytester, cached, canary):
    """A link that a test puts into the cache comes out neither as a link nor as what it
    points to.
    """
    pytester.makepyfile(f"""
        import os
        def test_cache(cache):
            os.symlink({str(canary)!r}, cache.mkdir("folder") / "link")
            (cache.mkdir("folder") / "link/file").write_text("changed")
    """)
    cached().assert_outcomes(passed=1)
    assert not (pytester.path / ".pytest_cache/d/folder/link").exists()
    assert (canary / "file").read_text() == "untouched"


def test_a_link_of_the_machine_in_the_cache_is_not_followed(pytester, cached, canary):
    """A folder of the cache that is a link on the machine is left alone, and the run says so."""
    (pytester.path / ".pytest_cache/d").mkdir(parents=True)
    (pytester.path / ".pytest_cache/d/folder").symlink_to(canary)
    pytester.makepyfile("""
        import os
        def test_cache(cache):
            os.unlink(cache.mkdir("folder"))
            (cache.mkdir("folder") / "other").write_text("new")
    """)
    result = cached()
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*what the test wrote to */.pytest_cache could not be brought back: *"]
    )
    assert [path.name for path in canary.iterdir()] == ["file"]


def test_hypothesis_keeps_its_examples(pytester, cached):
    """The failing example of one run is the first that the next run tries."""
    pytester.makepyfile("""
        from hypothesis import given, settings, strategies, Phase
        settings.load_profile("default")  # in CI Hypothesis keeps no examples
        @settings(phases=[Phase.reuse, Phase.generate])
        @given(strategies.integers())
        def test_numbers(number): assert number < 1000
    """)
    loaded = ("-p", "hypothesispytest")
    cached(*loaded).assert_outcomes(failed=1)
    examples = pytester.path / ".hypothesis/examples"
    assert any(path.is_file() for path in examples.rglob("*"))
    cached(*loaded, "--hypothesis-show-statistics").stdout.fnmatch_lines(
        ["*during reuse phase*", "*", "*1 failing*"]
    )


def test_junit_has_properties_and_attributes_recorded_inside(pytester, cached):
    """``record_testsuite_property``, ``record_xml_attribute`` and ``record_property`` reach the
    file, in a test of a group too.
    """
    pytester.makepyfile("""
        import pytest
        from pytest_isolate import isolate
        def test_alone(record_testsuite_property, record_xml_attribute, record_property):
            record_testsuite_property("alone", 1)
            record_xml_attribute("assertions", "A")
            record_property("mine", "P")
        @isolate(scope="class")
        class TestGroup:
            def test_first(self, record_testsuite_property): record_testsuite_property("first", "yes")
            def test_second(self, record_testsuite_property, record_xml_attribute):
                record_testsuite_property("second", "yes")
                record_xml_attribute("assertions", "B")
    """)
    cached("--junitxml=junit.xml", "-o", "junit_family=xunit1", "-W", "ignore").assert_outcomes(
        passed=3
    )
    root = ET.parse(pytester.path / "junit.xml").getroot()
    suite = root.find("testsuite/properties")
    assert suite is not None
    assert [(each.get("name"), each.get("value")) for each in suite] == [
        ("alone", "1"),
        ("first", "yes"),
        ("second", "yes"),
    ]
    assert [case.get("assertions") for case in root.iter("testcase")] == ["A", None, "B"]
    assert ("mine", "P") in [
        (each.get("name"), each.get("value")) for each in root.iter("property")
    ]


@pytest.mark.parametrize(
    ("keywords", "warns"), [("forward=None", 1), ("", 0), ("net=False", 0), ("fixtures='fresh'", 0)]
)
def test_a_shared_fixtures_thread_is_named_once(pytester, cached, keywords, warns):
    """A server's thread lives in pytest: said by name unless the test can reach it or starts its
    own; never an error.
    """
    pytester.makepyfile(f"""
        import socket, socketserver, threading, pytest
        from pytest_isolate import isolate
        pytestmark = isolate({keywords})

        class Echo(socketserver.BaseRequestHandler):
            def handle(self): self.request.sendall(self.request.recv(10))

        @pytest.fixture(scope="session")
        def server():
            with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
                thread = threading.Thread(target=server.serve_forever, name="echo-server", daemon=True)
                thread.start()
                yield server.server_address
                server.shutdown()

        @pytest.mark.parametrize("number", [1, 2])
        def test_server(server, number):
            if {warns == 0}:
                with socket.create_connection(server, timeout=10) as client:
                    client.sendall(b"hello")
                    assert client.recv(10) == b"hello"
    """)
    result = cached()
    result.assert_outcomes(passed=2, warnings=warns)
    if warns:
        result.stdout.fnmatch_lines(
            ["*session-scoped fixture 'server' started the thread 'echo-server'*net='host'*"]
        )


@pytest.mark.parametrize("obstacle", ["a file in its place", "HYPOTHESIS_DATABASE_FILE"])
def test_a_database_of_examples_that_cannot_be_ends_no_run(
    pytester, isolated, monkeypatch, obstacle
):
    """Hypothesis warns, or raises, when it is asked for it: with ``-W error`` the tests that use it
    fail, as in a plain run.
    """
    for name in [
        name
        for name in os.environ
        if name.endswith(("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TF_BUILD"))
    ]:
        monkeypatch.delenv(name)  # where Hypothesis has no database
    if obstacle == "HYPOTHESIS_DATABASE_FILE":
        monkeypatch.setenv(obstacle, "examples")
    else:
        (pytester.path / ".hypothesis").touch()
    pytester.makepyfile("""
        from hypothesis import given, strategies
        @given(strategies.integers())
        def test_given(n): pass
        def test_passes(): pass
        def test_fails(): assert 0
        """)
    plain, ours = (isolated("-W", "error", "-q", how) for how in ("--isolate-off", "--isolate-all"))
    assert ours.parseoutcomes() == plain.parseoutcomes() == {"passed": 1, "failed": 2}
    assert ours.ret == plain.ret
