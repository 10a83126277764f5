"""The budget file and what is judged by it, without a run."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate._report import budgets as judging
from pytest_isolate._report.budget_file import (
    KEYS,
    BudgetFileError,
    Budgets,
    default_tolerances,
    make_line,
    parse,
    render,
)

FILE = """\
# ours
[tolerance]
memory = "10%"

[tests]
# the big one
"a.py::test_big" = { memory = "100M", cpu = "1s" }
"a.py::test_p[*]" = { memory = "10M" }
"a.py::test_p[7]" = { memory = "20M" }
"""
MIB = 1 << 20


def read(text=FILE):
    return parse("budgets.toml", text)


@given(st.sampled_from([key for key in KEYS if key != "pids"]), st.integers(0, 2**50))
def test_a_figure_is_written_rounded_up_and_reads_back_as_the_same_text(name, number):
    """What was used fits in what is written, within 0.1 of a unit, and a second update changes
    nothing.
    """
    key, figure = KEYS[name], number if "M" in KEYS[name].example else number / 2**30
    text = key.text(figure)
    back = key.parse(int(text) if text.isdigit() else text)
    assert key.text(back) == text
    assert back >= figure - 2
    assert back <= math.ceil(figure * 1.1) + 1024


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), unique=True), st.integers(0, 2**40)
)
def test_every_test_name_can_be_written_and_read_back(names, memory):
    """Quotes, backslashes, control characters, other alphabets: a name is a name."""
    names = [f"a.py::test[{name}]" for name in names]
    lines = {name: make_line(name, 0, {"memory": memory}) for name in names}
    text = render(Budgets("b.toml", default_tolerances(), lines))
    assert sorted(parse("b.toml", text).lines) == sorted(lines)
    assert render(parse("b.toml", text)) == text


scalars = st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)


def toml(value):
    return repr(value).lower() if isinstance(value, bool | float) else json.dumps(value)


amounts = (
    st.sampled_from(["10%", "0%", "1000%", "-1%", "nan%", "1e999%", "5M", "2s", 0, 3]) | scalars
)


@given(
    key=st.sampled_from([*KEYS, "other"]),
    tolerance=amounts,
    budget=st.none() | amounts,
    used=st.floats(0, 1e15),
)
def test_any_value_of_a_file_is_taken_or_refused_in_words(key, tolerance, budget, used):
    """A tolerance that is taken is an amount that can be compared; all else is a sentence with file
    and line.
    """
    text = f"[tolerance]\n{key} = {toml(tolerance)}\n\n[tests]\n"
    text += "" if budget is None else f'"a.py::test" = {{ {key} = {toml(budget)} }}\n'
    try:
        budgets = read(text)
    except BudgetFileError as error:
        assert str(error).startswith("budgets.toml")  # noqa: PT017 - taking it is right too
        return
    allowed = budgets.tolerances[key].of(used)
    assert 0 <= allowed < math.inf


@given(text=st.text())
def test_no_file_makes_the_reader_raise_anything_else(text):
    """Whatever stands in it, it is budgets or a sentence."""
    try:
        assert isinstance(read(text), Budgets)
    except BudgetFileError as error:
        assert str(error).startswith("budgets.toml")  # noqa: PT017 - both ways out are right


def test_a_name_that_is_no_text_is_written_with_a_wild_card_that_matches_it():
    """A file name of any bytes: no TOML file can hold it, a pattern can."""
    name = "\udcff.py::test"
    text = render(
        Budgets("b.toml", default_tolerances(), {name: make_line(name, 0, {"memory": 1})})
    )
    text.encode()
    assert parse("b.toml", text).line_of(name) is not None


def test_the_file_is_sorted_one_test_a_line_with_defaults_written_out_and_keeps_comments():
    """The whole text, so that a diff is a line."""
    assert render(read()).splitlines() == [
        "# ours", "", "[tolerance]", 'memory = "10%"', 'cpu = "100% or 50ms"',
        'wall = "200% or 1s"', 'pids = "100% or 2"',
        'disk = "10% or 64K"', 'io_read = "150% or 1M"', 'io_write = "150% or 1M"', "", "[tests]",
        "# the big one",
        '"a.py::test_big" = { memory = "100M", cpu = "1000ms" }',
        '"a.py::test_p[*]" = { memory = "10M" }',
        '"a.py::test_p[7]" = { memory = "20M" }',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[tests]\n"a" = { memory = "12MB" }',
            "b.toml:2: memory = '12MB': 'MB' could mean 1000 or 1024: write '12M' or '12MiB'",
        ),
        (
            '[tests]\n"a" = { ram = 1 }',
            (
                "b.toml:2: there is no budget 'ram'; there are memory, cpu, wall, pids, disk,"
                " io_read, io_write"
            ),
        ),
        ('[tests]\n"a" = { pids = true }', "b.toml:2: pids = True: it must be a whole number"),
        (
            '[tests]\n"a" = { cpu = "fast" }',
            "b.toml:2: cpu = 'fast': it must be a number of seconds",
        ),
        (
            "[tests]\n\"a\" = {}\n\n'a' = {}",
            "b.toml:4: 'a' has a line already, b.toml:2; keep one of the two",
        ),
        ("[tests]\n<<<<<<< HEAD\n", "b.toml:2: this is no TOML: "),
        ('[tests]\n"a" = {', "b.toml:2: this is no TOML: "),
        (
            '[tests]\n"a" = "12M"',
            "b.toml:2: 'a': write each test on a line of its own below [tests], such as ",
        ),
        (
            '[tests."a"]\nmemory = 1',
            "b.toml:1: 'a': write each test on a line of its own below [tests], such as ",
        ),
        (
            f'[tests]\n"a" = {{ memory = {"9" * 5000} }}',
            "b.toml:2: a number of thousands of digits, or brackets without end; write each test ",
        ),
        (
            f'[tests]\n\n"a" = {"[" * 5000}',
            (
                "b.toml:3: a number of thousands of digits, or brackets without end; write each"
                " test on a line "
            ),
        ),
        ('[tests]\n"a" = { memory = -1 }', "b.toml:2: memory = -1: it must not be negative"),
        ('[tests]\n"a" = { cpu = nan }', "b.toml:2: cpu = nan: it must be a number of seconds"),
        (
            '[tests]\n"a" = { pids = 1 }\n"\\u0061" = { pids = 2 }',
            "b.toml:3: 'a' has a line already, b.toml:2; keep one of the two",
        ),
        (
            '[tests]\n"a" = { "\\u001b[31m" = 1 }',
            "b.toml:2: there is no budget '\\x1b[31m'; there are memory, ",
        ),
        (
            "[test]\n",
            "b.toml:1: there is no 'test' here; there are the tables [tolerance] and [tests]",
        ),
        (
            "\ntests = 1",
            "b.toml:2: there is no 'tests' here; there are the tables [tolerance] and [tests]",
        ),
        ("[tolerance]\nram = 1", "b.toml:2: there is no budget 'ram'"),
        (
            '[tolerance]\nmemory = "some"',
            (
                "b.toml:2: tolerance of memory = 'some': it must be a share, an amount or both,"
                " such as '10%'"
            ),
        ),
        (
            "[tolerance]\nmemory = true",
            "b.toml:2: tolerance of memory = True: it must be a share, an amount or both",
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_line_and_what_is_allowed(text, said):
    """One sentence, whatever is wrong."""
    with pytest.raises(BudgetFileError) as raised:
        parse("b.toml", text)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_an_exact_name_wins_over_a_pattern_and_brackets_are_themselves():
    """A parametrized test may share a line, and one of it may have its own; ``[*]`` is no character
    class.
    """
    lines = read()
    assert lines.line_of("a.py::test_p[7]").name == "a.py::test_p[7]"
    assert lines.line_of("a.py::test_p[8]").name == "a.py::test_p[*]"
    assert lines.line_of("a.py::test_p") is None
    assert lines.line_of("a.py::test_p*") is None


def test_of_two_patterns_the_one_with_more_letters_counts():
    """The nearer pattern is the one that says more."""
    lines = read('[tests]\n"*" = { pids = 1 }\n"a.py::*" = { pids = 2 }\n')
    assert (lines.line_of("a.py::x").name, lines.line_of("b.py::x").name) == ("a.py::*", "*")


def used(**figures):
    return {KEYS[name].usage: figures.get(name) for name in KEYS}


def test_the_tolerance_is_the_last_figure_that_is_no_violation():
    """110 MiB pass a budget of 100 with 10 %; one byte more does not, and the sentence says what,
    where, and by how much.
    """
    assert judging.exceeded(read(), "a.py::test_big", used(memory=110 * MIB), "call") == []
    (over,) = judging.exceeded(read(), "a.py::test_big", used(memory=200 * MIB), "call")
    assert (over.resource, over.phase, over.limit, over.used) == (
        "budget.memory",
        "call",
        100 * MIB,
        200 * MIB,
    )
    assert (
        str(over)
        == "used 200 MiB of 100 MiB, its budget of memory: 100 MiB (100%) over it, with a tolerance"
        " of 10% (set in budgets.toml:7)"
    )
    assert len(judging.exceeded(read(), "a.py::test_big", used(memory=110 * MIB + 1), "call")) == 1


@pytest.mark.parametrize(
    ("key", "budget", "passes", "fails"),
    [
        ("cpu", "7ms", 0.057, 0.0571),
        ("cpu", "1s", 2.0, 2.001),
        ("wall", "10ms", 1.01, 1.011),
        ("wall", "1s", 3.0, 3.001),
        ("memory", "3M", 5 * MIB, 5 * MIB + 1),
        ("memory", "40M", 50 * MIB, 50 * MIB + 1),
        ("pids", "1", 3, 4),
        ("pids", "7", 14, 15),
        ("io_read", "2M", 5 * MIB, 5 * MIB + 1),
    ],
)
def test_by_default_noise_is_no_violation_and_a_little_more_is(key, budget, passes, fails):
    """A share of a large figure, an amount of a small one: the two that benchmarks/noise.py found
    to fail nobody.
    """
    lines = read(f'[tests]\n"a.py::x" = {{ {key} = "{budget}" }}\n')
    assert judging.exceeded(lines, "a.py::x", used(**{key: passes}), "call") == []
    assert [
        each.resource for each in judging.exceeded(lines, "a.py::x", used(**{key: fails}), "call")
    ] == [f"budget.{key}"]


def test_what_was_not_measured_is_not_compared_and_named_once():
    """A machine without control groups has no memory figure: that is said, and is no pass in
    silence.
    """
    assert judging.exceeded(read(), "a.py::test_big", used(cpu=1), "call") == []
    assert judging.unmeasured(
        read(), {"a.py::test_big": used(cpu=1), "a.py::test_p[1]": used()}
    ) == ["memory"]


def test_room_to_tighten_is_judged_by_the_heaviest_test_of_a_line():
    """A budget of 100 MiB for 50 has room; one shared by 2 and 9.5 MiB has none."""
    tests = {
        "a.py::test_big": used(memory=50 * MIB),
        "a.py::test_p[1]": used(memory=2 * MIB),
        "a.py::test_p[2]": used(memory=19 * MIB // 2),
    }
    assert judging.room(read(), tests) == [
        "a.py::test_big: memory 100 MiB could be 50 MiB (budgets.toml:7)"
    ]


def test_room_is_advised_for_no_less_than_what_unchanged_tests_vary_by():
    """Threads come and go as the scheduler likes: whatever a file's own tolerance, between 7 and 13
    at once there is no room.
    """
    lines = read('[tolerance]\npids = "0"\n[tests]\n"a.py::x" = { pids = 13 }\n')
    assert judging.room(lines, {"a.py::x": used(pids=7)}) == []
    assert judging.room(lines, {"a.py::x": used(pids=5)}) == [
        "a.py::x: pids 13 could be 5 (budgets.toml:4)"
    ]


def test_a_vanished_test_is_one_whose_file_was_looked_at():
    """Its file was collected whole, or is gone.

    A file that was not asked for, and a single test by ``::``, prove nothing.
    """
    lines = read(
        '[tests]\n"a.py::x" = {pids = 1}\n"b.py::x" = {pids = 1}\n"c.py::x" = {pids ='
        ' 1}\n"a.py::y[*]" = {pids = 1}\n'
    )
    collected, there = ["a.py::z"], {"a.py", "b.py"}
    assert judging.vanished(lines, collected, there, whole_files=True) == [
        "a.py::x",
        "a.py::y[*]",
        "c.py::x",
    ]
    assert judging.vanished(lines, collected, there, whole_files=False) == ["c.py::x"]
    assert (
        judging.vanished(lines, ["a.py::y[1]", "a.py::x"], {*there, "c.py"}, whole_files=True) == []
    )


def test_a_new_test_of_the_same_function_seems_renamed():
    """In another file, another class, or with other parameters."""
    assert judging.renamed(["a.py::test_x[1]"], ["b.py::C::test_x[2]", "b.py::test_y"]) == {
        "b.py::C::test_x[2]": "a.py::test_x[1]"
    }


def test_an_update_keeps_who_did_not_run_drops_who_is_gone_and_adds_who_is_new():
    """Also what a figure within the tolerance says: nothing, so that noise makes no diff."""
    fresh = judging.updated(
        read(),
        {
            "a.py::test_big": used(memory=105 * MIB, cpu=3.0),
            "n.py::new": used(memory=MIB, cpu=0.1, wall=9, pids=1),
        },
        {"a.py::test_p[7]"},
    )
    assert {name: dict(line.figures) for name, line in fresh.lines.items()} == {
        "a.py::test_big": {"memory": 100 * MIB, "cpu": 3.0},
        "a.py::test_p[*]": {"memory": 10 * MIB},
        "n.py::new": {"memory": MIB, "cpu": 0.1, "pids": 1},
    }
    assert fresh.lines["a.py::test_big"].comments == ("# the big one",)


def test_an_update_raises_a_pattern_to_its_heaviest_test_and_never_lowers_it():
    """Nobody knows whether all its tests ran."""
    heavy = {"a.py::test_p[1]": used(memory=50 * MIB), "a.py::test_p[2]": used(memory=MIB)}
    assert judging.updated(read(), heavy, ()).lines["a.py::test_p[*]"].figures == {
        "memory": 50 * MIB
    }
    assert judging.updated(read(), {"a.py::test_p[2]": used(memory=MIB)}, ()).lines[
        "a.py::test_p[*]"
    ].figures == {"memory": 10 * MIB}


def test_an_update_of_what_was_just_written_changes_nothing():
    """Two runs with the same figures make one file."""
    tests = {"a.py::x": used(memory=12_345_678, cpu=0.0291, pids=2, disk=5000)}
    once = render(judging.updated(read("[tests]\n"), tests, ()))
    assert render(judging.updated(parse("b", once), tests, ())) == once
