"""Parsers of keyword values: what they take, what they refuse and the sentence they
refuse it with.
"""

import pwd
import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_isolate._config import paths, values
from pytest_isolate._config.values import format_duration, format_size

SIZE_SENTENCE = (
    "it must be a number of bytes, or text such as '512K', '64M', '1.5G' or '64MiB' (powers of"
    " 1024)"
)
DURATION_SENTENCE = "it must be a number of seconds, or text such as '250ms', '5s' or '2m'"
POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
PARSERS = {
    "size": values.size(1),
    "duration": values.duration,
    "count": values.count(1, "why"),
    "cores": values.cores,
    "boolean": values.boolean,
    "choice": values.choice("a", "b"),
    "hostname": values.hostname,
    "user": values.user,
    "environment": values.environment,
    "binds": paths.binds,
    "allowed": paths.allowed,
    "hidden": paths.hidden,
    "text": values.text,
}
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)


def sentence_of(parse, value):
    with pytest.raises(ValueError, match=r".") as caught:
        parse(value)
    return str(caught.value)


@pytest.mark.parametrize("name", PARSERS)
@given(value=anything)
def test_a_parser_answers_whatever_it_is_given_with_a_value_or_with_what_is_allowed(name, value):
    """Whatever a user types, the answer is a value or one sentence that says what is allowed."""
    try:
        PARSERS[name](value)
    except ValueError as error:
        assert re.search(r"it must|could mean|cannot be bound", str(error)), repr(error)  # noqa: PT017 - both ways out are right


@pytest.mark.parametrize("name", ["size", "duration", "count", "cores"])
@pytest.mark.parametrize(
    "value",
    [10**400, "9" * 400, "9" * 5000, float("inf"), float("nan")],
    ids=["int", "text", "long text", "inf", "nan"],
)
def test_a_number_that_no_machine_holds_is_a_value_or_a_value_error(name, value):
    """Numbers beyond a float's range are answered like any other: nothing but ``ValueError`` leaves
    a parser.
    """
    try:
        PARSERS[name](value)
    except ValueError:
        return


@pytest.mark.parametrize("name", ["user", "binds", "allowed", "hidden"])
def test_a_null_character_in_a_name_is_refused_with_what_is_allowed(name):
    """Text that no system call takes is refused by our sentence, not by Python's."""
    assert "it must be" in sentence_of(PARSERS[name], "a\0b")


@given(
    number=st.integers(1, 10**6),
    unit=st.sampled_from(sorted(POWERS)),
    suffix=st.sampled_from(["", "iB"]),
)
def test_size_units_are_powers_of_1024_in_either_case(number, unit, suffix):
    """K M G T and KiB MiB GiB TiB are powers of 1024, in capitals or not."""
    text = f"{number}{unit}{suffix}"
    assert values.size(1)(text) == values.size(1)(text.lower()) == number * 1024 ** POWERS[unit]


@given(number=st.integers(1, 2**62))
@example(number=2**53 + 1)
def test_a_size_in_text_without_a_unit_is_the_same_bytes_as_the_number(number):
    """A command line's "N" and a marker's N mean the same, to the byte."""
    assert values.size(1)(str(number)) == values.size(1)(number) == number


@pytest.mark.parametrize("unit", POWERS)
def test_a_decimal_unit_is_refused_and_says_what_to_write(unit):
    """MB is refused with a sentence that says why and what to write for it."""
    assert (
        sentence_of(values.size(1), f"64{unit}B")
        == f"'{unit}B' could mean 1000 or 1024: write '64{unit}' or '64{unit}iB'"
    )


@pytest.mark.parametrize("value", ["64iB", "1.5ib"])
def test_a_binary_suffix_without_a_power_is_refused(value):
    """A lone "iB" is no unit."""
    assert sentence_of(values.size(1), value) == SIZE_SENTENCE


def test_bytes_with_their_own_unit_never_lead_to_a_unit_that_does_not_exist():
    """What a refusal of "64B" offers instead can itself be typed and is 64 bytes."""
    try:
        assert values.size(1)("64B") == 64
    except ValueError as error:
        assert "'64iB'" not in str(error)  # noqa: PT017 - taking it is right too


@pytest.mark.parametrize(
    "value", ["", "M", "64X", "-1", "1,5G", "0x40", "64 M B", 64.0, True, None, [64]]
)
def test_what_is_no_size_is_refused_with_examples(value):
    """Anything else is refused with examples of what is taken."""
    assert sentence_of(values.size(1), value) == SIZE_SENTENCE


def test_a_size_is_taken_at_its_minimum_and_refused_one_byte_below():
    """The minimum itself is allowed; one byte less is refused with it."""
    parse = values.size(1 << 20)
    assert parse(1 << 20) == parse("1M") == 1 << 20
    assert (
        sentence_of(parse, (1 << 20) - 1) == "it must be at least 1 MiB: with less no test can run"
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5.0),
        (0.25, 0.25),
        ("5", 5.0),
        ("250ms", 0.25),
        ("5s", 5.0),
        ("1.5 s", 1.5),
        (" 2m ", 120.0),
        ("1h", 3600.0),
        (1e-9, 1e-9),
    ],
)
def test_a_duration_is_seconds_or_text_with_a_unit(value, seconds):
    """A number is seconds; ms, s, m and h are what everybody thinks they are."""
    assert values.duration(value) == pytest.approx(seconds, rel=1e-12)


@given(
    number=st.floats(1e-3, 1e9),
    unit=st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("", 1)]),
    gap=st.sampled_from(["", " "]),
)
def test_a_duration_in_text_is_its_number_times_its_unit(number, unit, gap):
    """Whatever number, with or without a gap."""
    text = f"{number:.9f}"
    assert values.duration(f"{text}{gap}{unit[0]}") == pytest.approx(
        float(text) * unit[1], rel=1e-12
    )


@pytest.mark.parametrize(
    "value", ["", "soon", "5 sec", "5M", "1:30", True, None, [5], float("nan"), float("inf")]
)
def test_what_is_no_duration_is_refused_with_examples(value):
    """Anything else is refused with examples of what is taken."""
    assert sentence_of(values.duration, value) == DURATION_SENTENCE


@pytest.mark.parametrize("value", [0, 0.0, -1, "0s", "0ms"])
def test_a_duration_of_nothing_is_refused(value):
    """No test runs in no time."""
    assert sentence_of(values.duration, value) == "it must be more than 0 seconds"


@given(minimum=st.integers(0, 100), more=st.integers(0, 1000))
def test_a_count_is_taken_from_its_minimum_on_and_not_one_less(minimum, more):
    """The minimum itself is allowed, as a number and as text; one less is refused with
    the reason.
    """
    parse = values.count(minimum, "because")
    assert parse(minimum + more) == parse(str(minimum + more)) == minimum + more
    expected = f"it must be a whole number, at least {minimum}: because"
    assert sentence_of(parse, minimum - 1) == sentence_of(parse, str(minimum - 1)) == expected


def test_a_count_that_no_machine_has_is_refused():
    """The kernel would refuse it as out of range, which looks as if this machine could not."""
    assert values.count(1, "because")(1 << 22) == 1 << 22
    assert (
        sentence_of(values.count(1, "because"), "99999999999999999999")
        == "it must be at most 4194304: no machine has more"
    )


@pytest.mark.parametrize("value", [5.0, "5.0", "many", True, None])
def test_what_is_no_whole_number_is_no_count(value):
    """A fraction, a bool and a word are not counts."""
    assert (
        sentence_of(values.count(1, "because"), value)
        == "it must be a whole number, at least 1: because"
    )


@pytest.mark.parametrize(
    ("value", "expected"), [(0.01, 0.01), ("0.01", 0.01), (2, 2.0), ("2", 2.0), (0.5, 0.5)]
)
def test_cores_are_numbers_from_a_hundredth_on(value, expected):
    """The kernel's smallest quota is allowed, and so are whole cores."""
    assert values.cores(value) == expected


@pytest.mark.parametrize(
    "value", [0.0099, "0.0099", 0, -1, "half", True, None, float("nan"), float("inf")]
)
def test_less_than_a_hundredth_of_a_core_is_refused(value):
    """Below the kernel's smallest quota nothing is taken."""
    assert (
        sentence_of(values.cores, value)
        == "it must be a number of cores, at least 0.01, such as 0.5 or 2"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [([True, "true", "Yes", "ON", "1"], True), ([False, "false", "No", "OFF", "0"], False)],
)
def test_a_boolean_is_one_or_a_word_for_it(words, expected):
    """True and False, and an ini file's words for them in either case."""
    assert [values.boolean(word) for word in words] == [expected] * len(words)


@pytest.mark.parametrize("value", [0, 1, "", "perhaps", None])
def test_what_is_no_boolean_is_refused(value):
    """Numbers and other words are not booleans."""
    assert sentence_of(values.boolean, value) == "it must be True or False"


@given(value=st.text(max_size=6) | st.integers())
def test_a_choice_takes_its_words_only(value):
    """Every other value is refused with the words, quoted."""
    parse = values.choice("overlay", "readonly", "host")
    assert [parse(word) for word in ("overlay", "readonly", "host")] == [
        "overlay",
        "readonly",
        "host",
    ]
    if value not in ("overlay", "readonly", "host"):
        assert sentence_of(parse, value) == "it must be 'overlay', 'readonly' or 'host'"


@given(name=st.text(string.ascii_letters + string.digits, min_size=1, max_size=64))
def test_up_to_64_letters_and_digits_are_a_hostname(name):
    """What sethostname(2) takes is taken as it is."""
    assert values.hostname(name) == name


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a" * 64, True),
        ("a" * 65, False),
        ("a.b-c", True),
        ("", False),
        ("a b", False),
        ("a\n", False),
    ],
)
def test_a_hostname_has_1_to_64_letters_digits_dots_and_hyphens(name, taken):
    """64 characters are taken, 65 are not, and nothing that a shell or a log would trip over."""
    if taken:
        assert values.hostname(name) == name
    else:
        assert (
            sentence_of(values.hostname, name)
            == "it must be 1 to 64 letters, digits, dots and hyphens, with a letter or digit at"
            " both ends"
        )


@pytest.mark.parametrize(
    ("value", "expected"),
    [("root", "root"), (0, 0), ("0", 0), ("1234", 1234), (2**32 - 2, 2**32 - 2)],
)
def test_a_user_is_a_name_of_this_machine_or_a_uid(value, expected):
    """Names are looked up, uids need no name, and the largest uid is allowed."""
    assert values.user(value) == expected


@pytest.mark.parametrize("value", ["", -1, 2**32 - 1, 1.5, "1.5", True, None])
def test_what_is_no_user_is_refused(value):
    """-1 and its unsigned twin mean "nobody in particular" to the kernel, and are refused with the
    rest.
    """
    assert (
        sentence_of(values.user, value)
        == "it must be a user name or a uid of this machine, or 'root'"
    )


def test_a_name_that_nobody_has_is_refused():
    """A user that this machine does not know cannot be run as."""
    name = next(
        name
        for number in range(100)
        if (name := f"nobody-{number}") not in {entry.pw_name for entry in pwd.getpwall()}
    )
    assert (
        sentence_of(values.user, name)
        == "it must be a user of this machine, and none has that name"
    )


names = st.text(string.ascii_letters + "_", min_size=1)
texts = st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]))


@given(variables=st.dictionaries(names, texts))
def test_an_environment_is_the_same_as_a_dict_and_as_lines(variables):
    """A marker's dict and a command line's NAME=VALUE say the same, whatever is in the text."""
    assert values.environment(variables) == variables
    assert values.environment([f"{name}={text}" for name, text in variables.items()]) == variables


@pytest.mark.parametrize("value", ["clean", ["clean"]])
def test_a_clean_environment_is_one_word_from_a_marker_or_a_command_line(value):
    """The word "clean" may come alone or as the only line of an ini file."""
    assert values.environment(value) == "clean"


def test_a_variable_can_be_removed_but_not_numbered():
    """None removes a variable; a number is refused with its name, for the kernel knows
    text only.
    """
    assert values.environment({"A": None}) == {"A": None}
    expected = (
        "it must be a dict of variable names to text (or None, to remove one), or 'clean'; 'A': 1"
        " is not"
    )
    assert sentence_of(values.environment, {"A": 1}) == expected


@pytest.mark.parametrize(
    "variables", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "\0"}, {1: "x"}]
)
def test_a_variable_that_execve_cannot_say_is_refused(variables):
    """Empty names, equal signs in names and null characters are refused with the pair that has
    them.
    """
    ((name, text),) = variables.items()
    assert sentence_of(values.environment, variables).endswith(f"; {name!r}: {text!r} is not")


@pytest.mark.parametrize("value", [["A"], ["clean", "A=1"]])
def test_a_line_without_a_value_is_refused(value):
    """A line of an ini file is NAME=VALUE."""
    assert sentence_of(values.environment, value) == "it must be NAME=VALUE, or 'clean'"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (64 << 20, "64 MiB"),
        (1 << 30, "1 GiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_bytes_are_shown_in_the_largest_unit_they_fill(number, text):
    """1023 bytes are bytes, 1024 are a KiB."""
    assert format_size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (0.001, "1 ms"), (1, "1 s"), (1.5, "1.5 s"), (90, "90 s"), (999, "999 s")],
)
def test_seconds_are_shown_as_people_write_them(seconds, text):
    """Below a second in ms, from there on in seconds."""
    assert format_duration(seconds) == text


@given(minutes=st.integers(17, 24 * 60))
def test_a_long_duration_is_never_shown_in_powers_of_ten(minutes):
    """A limit of "20m" is read as a number of seconds (or minutes), not as "1.2e+03 s"."""
    assert "e" not in format_duration(minutes * 60.0)


def test_a_small_number_was_meant_as_another_unit():
    """Who leaves out the letter reads what the number is."""
    for value in (64, "64"):
        said = sentence_of(values.size(8 << 20), value)
        assert said.endswith(": with less no test can run (a number is bytes: '64M' is 64 MiB)")
    assert "is bytes" not in sentence_of(values.size(8 << 20), "64K")


@pytest.mark.parametrize("value", [-1, "-1", "-250ms"])
def test_less_than_no_time_is_refused_for_that(value):
    """And not for being no number."""
    assert sentence_of(values.duration, value) == "it must be more than 0 seconds"
