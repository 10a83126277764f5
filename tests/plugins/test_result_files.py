"""Plugins that write results to files: each file has what a plain run's has, but for times, numbers of processes and drawn identifiers."""

from __future__ import annotations

import json
import re
import textwrap

import pytest

FILES = {
    "conftest.py": """
        import logging, pytest
        @pytest.fixture(scope="session")
        def wide():
            print("wide set-up")
            yield "wide"
            print("wide teardown")
        @pytest.fixture(scope="module", autouse=True)
        def middle(): logging.getLogger("middle").warning("logged")
        """,
    "test_results.py": """
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
        """,
    "test_shared_fails.py": """
        import pytest
        @pytest.fixture(scope="module")
        def fails(wide): raise ConnectionError("no database")
        def test_one(fails): pass
        def test_two(fails): pass
        """,
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
    text = (ran.directory / name).read_text().replace(str(ran.directory), "DIRECTORY").replace(str(ran.directory.parent), "ROOT")
    return re.sub(r"0x[0-9a-f]{6,}", "0xADDRESS", re.sub(r"/pytest-of-\w+/pytest-\d+/", "/TEMPORARY/", text))


def same_lists(left, right):
    """Compare item by item, so that a failure names the first that differs."""
    for one, other in zip(left, right, strict=False):
        assert other == one
    assert len(right) == len(left)


ALLURE = {
    **FILES,
    "test_steps.py": """
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
        """,
    "pytest.ini": "[pytest]\nmarkers = slow: slowly\n",
}


def allure_files(ran):
    """Results by full name and parameters, and containers by what they hold; identifiers are replaced by what they stand for."""
    folder = ran.directory / "results"
    texts = {path.name: read(ran, f"results/{path.name}") for path in folder.iterdir()}
    loaded = {name: json.loads(text) for name, text in texts.items() if name.endswith(("-result.json", "-container.json"))}
    names = {
        each["uuid"]: f"{each['fullName']} {[one['value'] for one in each.get('parameters', [])]}"
        for name, each in loaded.items()
        if name.endswith("-result.json")
    }
    for each in loaded.values():
        each["children"] = sorted(names.get(child, "nobody's") for child in each.get("children", []))
        labels = [label for label in each.get("labels", []) if label["name"] not in {"thread", "host"}]
        each["labels"] = sorted(labels, key=lambda label: (label["name"], label["value"]))  # tags are a set
    attachments = set()

    def resolved(value):
        if isinstance(value, dict):
            if "source" in value:
                attachments.add(value["source"])
                return {**value, "source": texts[value["source"]]}
            return {key: resolved(each) for key, each in value.items() if key not in {"uuid", "start", "stop"}}
        return [resolved(each) for each in value] if isinstance(value, list) else value

    found = {kind: [resolved(each) for name, each in loaded.items() if name.endswith(kind)] for kind in ("-result.json", "-container.json")}
    assert set(texts) == set(loaded) | attachments, "files that nothing points to"
    return {kind: sorted(each, key=_place) for kind, each in found.items()}


def _place(one):
    named = [one.get("fullName"), one.get("parameters"), one["children"], [each["name"] for each in one.get("befores", [])]]
    return json.dumps([named, one], sort_keys=True)


@pytest.mark.plugins(allure_pytest="allure_pytest")
def test_allure_has_the_same_results(both):
    """Every result file with its status, words, steps, labels, parameters and attachments, but what pytest prints of shared teardowns."""
    plain, isolated = both(ALLURE, "--alluredir=results", "--clean-alluredir", tests=TESTS + 3)
    results = [_of_tests(allure_files(each)["-result.json"]) for each in (plain, isolated)]
    same_lists(*results)
    assert len(results[0]) == TESTS + 3


@pytest.mark.plugins(allure_pytest="allure_pytest", pytest_xdist="xdist")
def test_allure_in_a_worker(both):
    """Every result file with `-n 1`: which of several workers logs for a shared fixture would be chance."""
    plain, isolated = both(ALLURE, "--alluredir=results", "-n1", tests=TESTS + 3)
    same_lists(*(_of_tests(allure_files(each)["-result.json"]) for each in (plain, isolated)))


def _of_tests(results):
    """Without what shared fixtures print while they are torn down, in pytest: allure's results are written in the test's process."""
    for each in results:
        each["attachments"] = [one for one in each.get("attachments", []) if one.get("source") != "wide teardown\n"]
    return results


OF_TIME = {"start", "stop", "duration", "created"}


@pytest.mark.plugins(pytest_reportlog="pytest_reportlog")
def test_reportlog_has_the_same_lines(both):
    """Every line of the log: reports of each phase in their order, with words, sections, properties, and warnings."""
    plain, isolated = both(FILES, "--report-log=log.jsonl", tests=TESTS)
    logs = []
    for each in (plain, isolated):
        lines = [without(json.loads(line), OF_TIME) for line in read(each, "log.jsonl").splitlines()]
        for line in lines:
            line["user_properties"] = [one for one in line.get("user_properties", []) if not one[0].startswith("isolate.")]
            line["sections"] = [one for one in line.get("sections", []) if one[0] != "isolate"]
        logs.append(lines)
    same_lists(*logs)
    assert {line["$report_type"] for line in logs[0]} >= {"TestReport", "CollectReport", "WarningMessage", "SessionFinish"}


@pytest.mark.plugins(pytest_html="html", pytest_metadata="metadata")
def test_html_has_what_hooks_add(both):
    """Extras and descriptions that a conftest's makereport hook and a fixture add to each row, as its manual shows."""
    files = {
        "conftest.py": """
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
            """,
        "test_html.py": """
            import pytest_html
            def test_passes():
                "Described."
            def test_fails(extras):
                extras.append(pytest_html.extras.text("some string", name="text"))
                assert 0
            """,
    }
    plain, isolated = both(files, "-p", "html_fixtures", "--html=report.html", "--self-contained-html", tests=2)
    pages = [read(each, "report.html") for each in (plain, isolated)]
    for text in ("www.example.com/test_passes", "Additional HTML", "Described.", "some string"):
        assert pages[1].count(text) == pages[0].count(text) > 0


MEMORY = {
    "test_memory.py": """
        import pytest
        def test_block(): assert len(bytearray(16 << 20))
        def test_other(): assert len(bytearray(8 << 20))
        @pytest.mark.limit_memory("5 MB")
        def test_limit(): assert len(bytearray(20 << 20))
        @pytest.mark.limit_memory("50 MB")
        def test_within(): assert len(bytearray(20 << 20))
        """
}


@pytest.mark.plugins(pytest_memray="memray")
def test_memray_reports_every_test(both):
    """Tests in its report with the size of their allocations, limits that hold, and the files of `--memray-bin-path`."""
    plain, isolated = both(MEMORY, "--memray", "--memray-bin-path=bins", "--most-allocations=0", tests=None)
    names = re.compile(r"Allocation results for \S*(test_\w+) at the high watermark[\s\S]*?Total memory allocated: (\d+)\.\d(\w+)")
    found = [sorted(names.findall(each.output)) for each in (plain, isolated)]
    assert found[1] == found[0]
    assert len(found[0]) == 4
    bins = [sorted(re.sub(r"^[0-9a-f]+-", "", path.name) for path in (each.directory / "bins").iterdir()) for each in (plain, isolated)]
    assert bins[1] == bins[0] != []
    assert isolated.count("Test was limited to 5.0MiB") == plain.count("Test was limited to 5.0MiB") > 0


@pytest.mark.plugins(pytest_benchmark="benchmark")
def test_benchmark_has_every_measurement(both):
    """Rows of its table and its JSON file, with names, groups, parameters, rounds and what a test adds; or a sentence says what is lost."""
    files = {
        "test_speed.py": """
            import pytest
            def work(): return sum(range(10))
            @pytest.mark.benchmark(group="one")
            @pytest.mark.parametrize("size", [1, 2])
            def test_one(benchmark, size): assert benchmark.pedantic(work, rounds=3, iterations=2) == 45
            def test_two(benchmark):
                benchmark.extra_info["known"] = 1
                benchmark.pedantic(work, rounds=4)
            """
    }
    plain, isolated = both(files, "--benchmark-json=speed.json", tests=3)
    kept = [rounds_of(each) for each in (plain, isolated)]
    assert len(kept[0]) == 3
    assert kept[1] == kept[0] or isolated.count("isolate: pytest-benchmark keeps its measurements in the memory") == 1


def rounds_of(ran):
    """Name, group, parameters, rounds and extra information of each benchmark."""
    path = ran.directory / "speed.json"
    data = json.loads(path.read_text() or "{}") if path.exists() else {}
    wanted = ("name", "group", "params", "extra_info")
    return sorted(str([*(each[key] for key in wanted), each["stats"]["rounds"]]) for each in data.get("benchmarks", []))


SNAPSHOTS = {
    "__snapshots__/test_snap.ambr": """\
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
        """,
    "test_snap.py": """
        def test_same(snapshot): assert snapshot == "value"
        def test_differs(snapshot): assert snapshot == "value"
        def test_new(snapshot): assert snapshot == {"a": [1]}; assert snapshot(name="named") == 2
        """,
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
    """With `-n 2`: files that report hooks write in workers, and counts that they keep in the controller."""
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
    assert sorted(read(isolated, "failures").splitlines()) == sorted(read(plain, "failures").splitlines()) != []
    counts = [[line for line in each.output.splitlines() if line.startswith("COUNTS")] for each in (plain, isolated)]
    assert counts[1] == counts[0] != []
