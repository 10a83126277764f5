"""Plugins that write results to files: each file has what a plain run's has, but for times, numbers
of processes and drawn identifiers.
"""

from __future__ import annotations

import json
import re
import textwrap

import pytest

FILES = {
    "conftest.py": (
        """
        import logging, pytest
        @pytest.fixture(scope="session")
        def wide():
            print("wide set-up")
            yield "wide"
            print("wide teardown")
        @pytest.fixture(scope="module", autouse=True)
        def middle(): logging.getLogger("middle").warning("logged")
        """
    ),
    "test_results.py": (
        """
        import unittest, warnings
        import pytest
        @pytest.fixture
        def own(wide):
            print("own set-up")
            yield
            print("own teardown")
        def test_passes(own):
            "Described."
            print("said")
        def test_fails(own): print("said before"); assert [1, 2] == [1, 3]
        @pytest.mark.skip(reason="why")
        def test_skipped(wide): pass
        def test_skips(): pytest.skip("inside")
        @pytest.mark.xfail(reason="known")
        def test_expected(): assert 0
        @pytest.mark.xfail
        def test_unexpected(): pass
        @pytest.fixture
        def broken(): raise OSError("broken")
        def test_error(own, broken): pass
        @pytest.fixture
        def late():
            yield
            raise ValueError("late")
        def test_late(late): pass
        @pytest.mark.parametrize("value", ["a", 2], ids=str)
        def test_each(value, wide, record_property):
            record_property("value", value)
            warnings.warn("take care")
        class TestClass:
            def test_method(self, tmp_path): raise RuntimeError("in a class")
        class TestUnit(unittest.TestCase):
            def test_unit(self): self.assertEqual(1, 2)
        """
    ),
    "test_shared_fails.py": (
        """
        import pytest
        @pytest.fixture(scope="module")
        def fails(wide): raise ConnectionError("no database")
        def test_one(fails): pass
        def test_two(fails): pass
        """
    ),
}
TESTS = 14


def without(value, keys):
    """Nested JSON without what differs between any two runs."""
    if isinstance(value, dict):
        return {key: without(each, keys) for key, each in value.items() if key not in keys}
    if isinstance(value, list):
        return [without(each, keys) for each in value]
    return value


def read(ran, name):
    """A file's text without addresses and the run's own directory."""
    text = (
        (ran.directory / name)
        .read_text()
        .replace(str(ran.directory), "DIRECTORY")
        .replace(str(ran.directory.parent), "ROOT")
    )
    return re.sub(
        r"0x[0-9a-f]{6,}", "0xADDRESS", re.sub(r"/pytest-of-\w+/pytest-\d+/", "/TEMPORARY/", text)
    )


def same_lists(left, right):
    """Compare item by item, so that a failure names the first that differs."""
    for one, other in zip(left, right, strict=False):
        assert other == one
    assert len(right) == len(left)


ALLURE = {
    **FILES,
    "test_steps.py": (
        """
        import allure, pytest
        @allure.feature("shop")
        @allure.severity(allure.severity_level.CRITICAL)
        @allure.link("https://example.com/1", name="one")
        @pytest.mark.slow
        class TestShop:
            @allure.title("A form for {name}")
            @pytest.mark.parametrize("name", ["ann", "bob"])
            def test_form(self, name, filled):
                with allure.step("fill the form"):
                    allure.attach("some text", name="note", attachment_type=allure.attachment_type.TEXT)
                    with allure.step("inner"): pass
                with allure.step("send it"): assert name == "ann"
            @pytest.fixture
            def filled(self):
                with allure.step("in set-up"): allure.attach("of the fixture", name="early")
                yield
                with allure.step("in teardown"): allure.attach("of the teardown", name="late")
        def test_dynamic(wide):
            allure.dynamic.title("told inside")
            allure.dynamic.description("so and so")
            allure.dynamic.tag("one", "two")
            allure.attach.file(__file__, name="file", extension="py")
        """
    ),
    "test_shared_ends.py": (
        """
        import allure, pytest
        @pytest.fixture(scope="class")
        def attached(wide):
            with allure.step("shared set-up"): allure.attach("of the class", name="shared")
            yield
            with allure.step("shared teardown"): print("shared teardown"); allure.attach("of its end", name="end")
        @pytest.fixture(scope="module")
        def fails_late(wide):
            yield
            print("before"); raise LookupError("late and shared")
        @pytest.mark.parametrize("number", [1, 2])
        class TestShared:
            def test_one(self, attached, number): print("said")
        def test_last(fails_late): pass
        """
    ),
    "pytest.ini": "[pytest]\nmarkers = slow: slowly\n",
}
IN_ALLURE = TESTS + 6


def allure_files(ran):
    """Results by full name and parameters, and containers by what they hold; identifiers are
    replaced by what they stand for.
    """
    folder = ran.directory / "results"
    texts = {path.name: read(ran, f"results/{path.name}") for path in folder.iterdir()}
    loaded = {
        name: json.loads(text)
        for name, text in texts.items()
        if name.endswith(("-result.json", "-container.json"))
    }
    names = {
        each["uuid"]: f"{each['fullName']} {[one['value'] for one in each.get('parameters', [])]}"
        for name, each in loaded.items()
        if name.endswith("-result.json")
    }
    for each in loaded.values():
        each["children"] = sorted(
            names.get(child, "nobody's") for child in each.get("children", [])
        )
        labels = [
            label for label in each.get("labels", []) if label["name"] not in {"thread", "host"}
        ]
        # Tags are a set
        each["labels"] = sorted(labels, key=lambda label: (label["name"], label["value"]))
    attachments = set()

    def resolved(value):
        if isinstance(value, dict):
            if "source" in value:
                attachments.add(value["source"])
                return {**value, "source": texts[value["source"]]}
            return {
                key: resolved(each)
                for key, each in value.items()
                if key not in {"uuid", "start", "stop"}
            }
        return [resolved(each) for each in value] if isinstance(value, list) else value

    found = {
        kind: [resolved(each) for name, each in loaded.items() if name.endswith(kind)]
        for kind in ("-result.json", "-container.json")
    }
    assert set(texts) == set(loaded) | attachments, "files that nothing points to"
    return {kind: sorted(each, key=_place) for kind, each in found.items()}


def _place(one):
    named = [
        one.get("fullName"),
        one.get("parameters"),
        one["children"],
        [each["name"] for each in one.get("befores", [])],
    ]
    return json.dumps([named, one], sort_keys=True)


@pytest.mark.plugins(allure_pytest="allure_pytest")
@pytest.mark.parametrize(
    "args", [(), ("--isolate-jobs=2",), ("--isolate-fs=host",)], ids=["alone", "jobs", "host"]
)
def test_allure_has_the_same_results(both, args):
    """Every result file with its status, words, steps, labels, parameters and attachments, and no
    other file of those.
    """
    plain, isolated = both(
        ALLURE, "--alluredir=results", "--clean-alluredir", *args, tests=IN_ALLURE
    )
    results = [allure_files(each)["-result.json"] for each in (plain, isolated)]
    same_lists(*results)
    assert len(results[0]) == IN_ALLURE


@pytest.mark.plugins(allure_pytest="allure_pytest")
def test_allure_has_the_same_results_of_tests_in_one_sandbox(both):
    """The same with `scope="module"`."""
    plain, isolated = both(ALLURE, "--alluredir=results", "--isolate-scope=module", tests=IN_ALLURE)
    same_lists(*(allure_files(each)["-result.json"] for each in (plain, isolated)))


@pytest.mark.plugins(allure_pytest="allure_pytest")
def test_allure_has_the_same_containers(both):
    """Every container file: set-up and teardown of fixtures of each scope, once, with the tests
    that used them.
    """
    plain, isolated = both(ALLURE, "--alluredir=results", tests=IN_ALLURE)
    same_lists(*(allure_files(each)["-container.json"] for each in (plain, isolated)))


@pytest.mark.plugins(allure_pytest="allure_pytest")
def test_allure_has_a_result_of_a_killed_test(run):
    """A test that was killed has a finished result that is no success, and the others
    have theirs.
    """
    files = {
        "test_killed.py": (
            """
            import os
            def test_before(): pass
            def test_dies(): os.abort()
            def test_behind(): pass
            """
        )
    }
    ran = run("isolated", files, "--isolate-all", "--alluredir=results")
    results = [
        json.loads(path.read_text()) for path in (ran.directory / "results").glob("*-result.json")
    ]
    status = {each["name"]: each.get("status") for each in results}
    assert status.pop("test_dies") in {"failed", "broken"}
    assert status == {"test_before": "passed", "test_behind": "passed"}
    assert [
        "SIGABRT" in each["statusDetails"]["message"]
        for each in results
        if each["name"] == "test_dies"
    ] == [True]


KILLED = {
    "conftest.py": (
        """
        import pytest
        @pytest.fixture(scope="module")
        def wide():
            yield
            print("wide teardown")
        """
    ),
    "test_killed.py": (
        """
        import os, signal, socket, threading
        import allure, pytest
        from pytest_isolate import isolate
        def test_before(wide): pass
        def test_aborts():
            print("said before")
            with allure.step("a step"): os.abort()
        @isolate(timeout=1)
        def test_late(wide): threading.Event().wait()
        @isolate(memory="20M")
        def test_eats(): bytearray(10**8)
        @isolate(net="deny")
        def test_calls():
            with allure.step("a step"): pytest.raises(OSError, socket.create_connection, ("192.0.2.1", 80))
        @pytest.fixture
        def dies():
            os._exit(3)
        def test_set_up(dies): pass
        @pytest.fixture
        def dies_late():
            yield
            os.kill(os.getpid(), signal.SIGKILL)
        def test_torn_down(dies_late): assert 1 == 2
        @isolate(memory="no size")
        def test_wrong(): pass
        @pytest.mark.xfail(reason="known", run=True)
        @isolate(timeout=1)
        def test_expected(): threading.Event().wait()
        @isolate(profile="strict")
        def test_strict(): pass
        @allure.title("The {number}. one")
        @pytest.mark.parametrize("number", [1])
        def test_last(wide, number): os.abort()
        """
    ),
}


@pytest.mark.plugins(allure_pytest="allure_pytest")
@pytest.mark.parametrize("args", [(), ("--isolate-jobs=2",)], ids=["alone", "jobs"])
def test_allure_has_results_of_tests_that_were_killed(run, args):
    """A test that was killed, or overstepped something, has a result with that in words, and what
    it had printed.
    """
    ran = run("isolated", KILLED, "--isolate-all", "--alluredir=results", *args)
    results = {each["name"]: each for each in allure_files(ran)["-result.json"]}
    assert {name: each["status"] for name, each in results.items()} == {
        "test_before": "passed", "test_aborts": "failed", "test_late": "failed",
        "test_eats": "failed", "test_calls": "failed",
        "test_set_up": "failed", "test_torn_down": "failed", "test_wrong": "broken",
        "test_expected": "skipped", "test_strict": "passed",
        "The 1. one": "failed",
    }  # fmt: skip
    words = {
        name: each.get("statusDetails", {}).get("message", "") for name, each in results.items()
    }
    expected = {
        "test_aborts": "^Crashed: its process .*SIGABRT", "test_late": "^TimeoutExceeded: took",
        "test_eats": "MemoryExceeded",
        "test_calls": "NetworkDenied", "test_set_up": "Crashed",
        "test_torn_down": "AssertionError: assert 1 == 2", "test_wrong": "no size",
        "test_expected": "XFAIL known\n\n.*TimeoutExceeded", "The 1. one": "SIGABRT",
    }  # fmt: skip
    for name, pattern in expected.items():
        assert re.search(pattern, words[name]), (name, words[name])
    assert [each["name"] for each in results["test_calls"]["steps"]] == ["a step"]
    attached = {
        name: [(one["name"], one["source"]) for one in each.get("attachments", [])]
        for name, each in results.items()
    }
    assert attached["test_aborts"] == [("stdout", "said before\n")]
    assert ("stdout", "wide teardown\n") in attached["The 1. one"]
    assert {"fullName", "historyId", "labels", "start", "titlePath"} <= results[
        "test_aborts"
    ].keys() | {"start"}
    (container,) = [
        each for each in allure_files(ran)["-container.json"] if "wide" in str(each.get("befores"))
    ]
    assert [child.partition(" ")[0] for child in container["children"]] == [
        "test_killed#test_before", "test_killed#test_last", "test_killed#test_late",
    ]  # fmt: skip


@pytest.mark.plugins(allure_pytest="allure_pytest", pytest_rerunfailures="rerunfailures")
def test_allure_has_a_result_of_each_attempt(both):
    """Attempts of pytest-rerunfailures, in set-up and call, each with its own result and its own
    containers.
    """
    files = {
        "conftest.py": FILES["conftest.py"],
        "test_flaky.py": (
            """
            import allure, pytest
            @pytest.fixture
            def own(request):
                print("own set-up", request.node.execution_count)
                yield
                print("own teardown")
            @pytest.fixture
            def fails_once(request):
                if request.node.execution_count == 1: raise OSError("once")
            def test_call(request, wide, own):
                with allure.step(f"attempt {request.node.execution_count}"): assert request.node.execution_count == 3
            def test_set_up(wide, own, fails_once): pass
            def test_never(own): assert 0
            """
        ),
    }
    plain, isolated = both(files, "--alluredir=results", "--reruns=2", tests=None)
    for kind in "-result.json", "-container.json":
        found = [allure_files(each)[kind] for each in (plain, isolated)]
        same_lists(*found)
    results = allure_files(isolated)["-result.json"]
    assert [each["name"] for each in results].count("test_never") == 3


@pytest.mark.plugins(allure_pytest="allure_pytest", pytest_rerunfailures="rerunfailures")
@pytest.mark.parametrize("attempt", [1, 2])
def test_allure_has_a_result_of_an_attempt_that_was_killed(run, attempt):
    """One of each attempt, whichever was killed; the others are what they are by themselves."""
    source = """
        import os, pytest
        def test_dies(request):
            print("attempt", request.node.execution_count)
            if request.node.execution_count == {}: os.abort()
            assert request.node.execution_count == 3
        """
    ran = run(
        "isolated",
        {"test_flaky.py": source.format(attempt)},
        "--isolate-all",
        "--reruns=2",
        "--alluredir=results",
    )
    results = allure_files(ran)["-result.json"]
    assert sorted(each["status"] for each in results) == ["failed", "failed", "passed"]
    assert [
        "SIGABRT" in each["statusDetails"]["message"]
        for each in results
        if each["status"] == "failed"
    ].count(True) == 1
    assert ran.status == 0


@pytest.mark.plugins(allure_pytest="allure_pytest", pytest_xdist="xdist")
def test_allure_in_a_worker(both):
    """Every result file with `-n 1`: which of several workers logs for a shared fixture would be
    chance.
    """
    plain, isolated = both(ALLURE, "--alluredir=results", "-n1", tests=IN_ALLURE)
    results = [allure_files(each)["-result.json"] for each in (plain, isolated)]
    same_lists(*results)


OF_TIME = {"start", "stop", "duration", "created"}


@pytest.mark.plugins(pytest_reportlog="pytest_reportlog")
def test_reportlog_has_the_same_lines(both):
    """Every line of the log: reports of each phase in their order, with words, sections,
    properties, and warnings.
    """
    plain, isolated = both(FILES, "--report-log=log.jsonl", tests=TESTS)
    logs = []
    for each in (plain, isolated):
        lines = [
            without(json.loads(line), OF_TIME) for line in read(each, "log.jsonl").splitlines()
        ]
        for line in lines:
            line["user_properties"] = [
                one for one in line.get("user_properties", []) if not one[0].startswith("isolate.")
            ]
            line["sections"] = [one for one in line.get("sections", []) if one[0] != "isolate"]
        logs.append(lines)
    same_lists(*logs)
    assert {line["$report_type"] for line in logs[0]} >= {
        "TestReport",
        "CollectReport",
        "WarningMessage",
        "SessionFinish",
    }


@pytest.mark.plugins(pytest_json_report="pytest_jsonreport", pytest_metadata="metadata")
def test_json_report_has_the_same_tests(both):
    """Every test of its file: phases, words, output, log records, and what fixtures put into its
    metadata.
    """
    files = {
        **FILES,
        "test_metadata.py": (
            """
            def test_metadata(json_metadata): json_metadata["kept"] = [1, {"two": 2}]
            def test_fails(json_metadata): json_metadata["kept"] = "too"; assert 0
            """
        ),
        "test_logged.py": (
            """
            import logging, pytest
            @pytest.fixture(scope="module")
            def shared():
                logging.error("shared %s", "set-up")
                yield
                logging.error("shared teardown"); print("ends")
            @pytest.fixture
            def own(shared):
                logging.error("own set-up")
                yield
                logging.error("own teardown"); print("ends soon")
            def test_logs(own): logging.error("call")
            @pytest.fixture(scope="class")
            def fails(shared):
                yield
                logging.error("late")
                raise OSError("late")
            class TestLast:
                def test_last(self, own, fails): logging.error("last")
            """
        ),
    }
    plain, isolated = both(
        files, "--json-report", "--json-report-file=report.json", tests=TESTS + 4
    )
    found = []
    for each in (plain, isolated):
        report = without(json.loads(read(each, "report.json")), OF_TIME)
        for test in report["tests"]:
            for phase in ("setup", "call", "teardown"):
                for record in test.get(phase, {}).get("log", []):
                    for key in ("relativeCreated", "msecs", "process", "thread", "pathname"):
                        record.pop(key)
            ours = [
                one
                for one in test.pop("user_properties", [])
                if not next(iter(one)).startswith("isolate.")
            ]
            test.update({"user_properties": ours} if ours else {})
        found.append(report)
    same_lists(*(report["tests"] for report in found))
    assert found[1]["summary"] == found[0]["summary"]
    assert found[1]["warnings"] == found[0]["warnings"]
    assert [test["metadata"]["kept"] for test in found[0]["tests"] if "metadata" in test] == [
        [1, {"two": 2}],
        "too",
    ]


@pytest.mark.plugins(pytest_json_report="pytest_jsonreport", pytest_metadata="metadata")
def test_json_report_has_tests_that_were_killed(run):
    """A test that was killed is there as failed, with its words and what it had printed; not its
    log records.
    """
    files = {
        "test_killed.py": (
            """
            import logging, os, sys
            import pytest
            @pytest.fixture(scope="module")
            def wide():
                yield
                print("wide teardown")
            def test_dies(wide):
                print("said"); print("aloud", file=sys.stderr); logging.error("logged")
                os.abort()
            """
        )
    }
    ran = run("isolated", files, "--isolate-all", "--json-report", "--json-report-file=report.json")
    (test,) = json.loads(read(ran, "report.json"))["tests"]
    assert (test["outcome"], test["call"]["outcome"], test["call"]["stdout"]) == (
        "failed",
        "failed",
        "said\n",
    )
    assert "aloud" in test["call"]["stderr"]
    assert "SIGABRT" in test["call"]["longrepr"]
    assert test["teardown"]["stdout"] == "wide teardown\n"


@pytest.mark.plugins(pytest_html="html", pytest_metadata="metadata")
def test_html_has_what_hooks_add(both):
    """Extras and descriptions that a conftest's makereport hook and a fixture add to each row, as
    its manual shows.
    """
    files = {
        "conftest.py": (
            """
            import pytest, pytest_html
            @pytest.hookimpl(hookwrapper=True)
            def pytest_runtest_makereport(item, call):
                outcome = yield
                report = outcome.get_result()
                extras = getattr(report, "extras", [])
                if report.when == "call":
                    extras.append(pytest_html.extras.url("http://www.example.com/" + item.name))
                    if report.failed:
                        extras.append(pytest_html.extras.html("<div>Additional HTML</div>"))
                report.extras = extras
                report.description = str(item.function.__doc__)
            def pytest_html_results_table_header(cells): cells.insert(2, "<th>Description</th>")
            def pytest_html_results_table_row(report, cells): cells.insert(2, f"<td>{getattr(report, 'description', '')}</td>")
            """
        ),
        "test_html.py": (
            """
            import pytest_html
            def test_passes():
                "Described."
            def test_fails(extras):
                extras.append(pytest_html.extras.text("some string", name="text"))
                assert 0
            """
        ),
    }
    plain, isolated = both(
        files, "-p", "html_fixtures", "--html=report.html", "--self-contained-html", tests=2
    )
    pages = [read(each, "report.html") for each in (plain, isolated)]
    for text in ("www.example.com/test_passes", "Additional HTML", "Described.", "some string"):
        assert pages[1].count(text) == pages[0].count(text) > 0


MEMORY = {
    "test_memory.py": (
        """
        import pytest
        def test_block(): assert len(bytearray(16 << 20))
        def test_other(): assert len(bytearray(8 << 20))
        @pytest.mark.limit_memory("5 MB")
        def test_limit(): assert len(bytearray(20 << 20))
        @pytest.mark.limit_memory("50 MB")
        def test_within(): assert len(bytearray(20 << 20))
        """
    )
}


@pytest.mark.plugins(pytest_memray="memray")
def test_memray_reports_every_test(both):
    """Tests in its report with the size of their allocations, limits that hold, and the files of
    `--memray-bin-path`.
    """
    plain, isolated = both(
        MEMORY, "--memray", "--memray-bin-path=bins", "--most-allocations=0", tests=None
    )
    names = re.compile(
        r"Allocation results for \S*(test_\w+) at the high watermark[\s\S]*?Total memory allocated:"
        r" (\d+)\.\d(\w+)"
    )
    found = [sorted(names.findall(each.output)) for each in (plain, isolated)]
    assert found[1] == found[0]
    assert len(found[0]) == 4
    bins = [
        sorted(
            re.sub(r"^[0-9a-f]+-", "", path.name) for path in (each.directory / "bins").iterdir()
        )
        for each in (plain, isolated)
    ]
    assert bins[1] == bins[0] != []
    assert (
        isolated.count("Test was limited to 5.0MiB")
        == plain.count("Test was limited to 5.0MiB")
        > 0
    )


@pytest.mark.plugins(pytest_benchmark="benchmark")
def test_benchmark_has_every_measurement(both):
    """Rows of its table and its JSON file, with names, groups, parameters, rounds and what a test
    adds; or a sentence says what is lost.
    """
    files = {
        "test_speed.py": (
            """
            import pytest
            def work(): return sum(range(10))
            @pytest.mark.benchmark(group="one")
            @pytest.mark.parametrize("size", [1, 2])
            def test_one(benchmark, size): assert benchmark.pedantic(work, rounds=3, iterations=2) == 45
            def test_two(benchmark):
                benchmark.extra_info["known"] = 1
                benchmark.pedantic(work, rounds=4)
            """
        )
    }
    plain, isolated = both(files, "--benchmark-json=speed.json", tests=3)
    kept = [rounds_of(each) for each in (plain, isolated)]
    assert len(kept[0]) == 3
    assert (
        kept[1] == kept[0]
        or isolated.count("isolate: pytest-benchmark keeps its measurements in the memory") == 1
    )


def rounds_of(ran):
    """Name, group, parameters, rounds and extra information of each benchmark."""
    path = ran.directory / "speed.json"
    data = json.loads(path.read_text() or "{}") if path.exists() else {}
    wanted = ("name", "group", "params", "extra_info")
    return sorted(
        str([*(each[key] for key in wanted), each["stats"]["rounds"]])
        for each in data.get("benchmarks", [])
    )


SNAPSHOTS = {
    "__snapshots__/test_snap.ambr": (
        """\
        # serializer version: 1
        # name: test_differs
          'other'
        # ---
        # name: test_same
          'value'
        # ---
        # name: test_unused
          'nobody'
        # ---
        """
    ),
    "test_snap.py": (
        """
        def test_same(snapshot): assert snapshot == "value"
        def test_differs(snapshot): assert snapshot == "value"
        def test_new(snapshot): assert snapshot == {"a": [1]}; assert snapshot(name="named") == 2
        """
    ),
}


@pytest.mark.plugins(syrupy="syrupy")
def test_syrupy_updates_no_snapshots_of_isolated_tests(run):
    """`--snapshot-update` is refused: it would delete what isolated tests compare."""
    ran = run("isolated", SNAPSHOTS, "--isolate-all", "--snapshot-update")
    file = "__snapshots__/test_snap.ambr"
    assert ran.status == pytest.ExitCode.USAGE_ERROR
    assert ran.count("isolate: syrupy's --snapshot-update deletes the snapshots") == 1
    assert read(ran, file) == textwrap.dedent(SNAPSHOTS[file])


@pytest.mark.plugins(pytest_xdist="xdist")
def test_hooks_of_conftests_in_workers(both):
    """With `-n 2`: files that report hooks write in workers, and counts that they keep in the
    controller.
    """
    files = {
        **FILES,
        "conftest.py": FILES["conftest.py"]
        + """
        counts = {}
        def pytest_runtest_makereport(item, call):
            if call.excinfo is not None:
                with (item.config.rootpath / "failures").open("a") as file:
                    file.write(f"{item.name} {call.when} {call.excinfo.typename}\\n")
        def pytest_runtest_logreport(report):
            counts[report.when, report.outcome] = counts.get((report.when, report.outcome), 0) + 1
        def pytest_terminal_summary(terminalreporter): terminalreporter.write_line(f"COUNTS {sorted(counts.items())}")
        """,
    }
    plain, isolated = both(files, "-n2", tests=TESTS)
    assert (
        sorted(read(isolated, "failures").splitlines())
        == sorted(read(plain, "failures").splitlines())
        != []
    )
    counts = [
        [line for line in each.output.splitlines() if line.startswith("COUNTS")]
        for each in (plain, isolated)
    ]
    assert counts[1] == counts[0] != []
