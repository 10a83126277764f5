"""The table of keywords, and what is said of keywords elsewhere against it."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from pytest_isolate import _typing
from pytest_isolate._config.keywords import KEYWORDS, LIMITS
from pytest_isolate._config.paths import Bind
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux.cgroup import hierarchy
from pytest_isolate._linux.environment import Environment
from pytest_isolate._linux.host import Host
from pytest_isolate._linux.mounts import MountPoint
from pytest_isolate._linux.root import Root
from pytest_isolate._plan import planning

EVERY = pytest.mark.parametrize("keyword", KEYWORDS.values(), ids=KEYWORDS)


def _with_keywords():
    """The overload of the marker's type that takes keywords."""
    tree = ast.parse(Path(inspect.getsourcefile(_typing)).read_text("utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__call__"
    ]
    (found,) = (call for call in calls if call.args.kwonlyargs)
    return found


ANNOTATIONS = {each.arg: each.annotation for each in _with_keywords().args.kwonlyargs}
WORDS = [
    (name, ast.literal_eval(word))
    for name, annotation in ANNOTATIONS.items()
    for literal in ast.walk(annotation)
    if isinstance(literal, ast.Subscript) and getattr(literal.value, "id", "") == "Literal"
    for word in (literal.slice.elts if isinstance(literal.slice, ast.Tuple) else [literal.slice])
]


def test_the_type_and_a_spec_have_every_keyword():
    """A keyword added to the table is added to both: else using it is a type error, or it cannot be
    asked for.
    """
    assert list(ANNOTATIONS) == list(KEYWORDS)
    assert [each.name for each in dataclasses.fields(Spec)] == [*KEYWORDS, "origins"]


@EVERY
def test_an_editor_shows_each_keyword_with_what_its_number_counts(keyword):
    """The marker's docstring, which is all that most users ever read of a keyword."""
    shown = f"{keyword.name}: {keyword.unit}{': ' * bool(keyword.unit)}{keyword.help}"
    docstring = ast.get_docstring(_with_keywords())
    paragraphs = re.split(r"\n    (?! )", docstring)  # a line that goes on is indented once more
    assert shown in [" ".join(paragraph.split()) for paragraph in paragraphs]


@pytest.mark.parametrize(("name", "word"), WORDS, ids=str)
def test_the_type_knows_no_word_that_is_refused(name, word):
    """What a type checker accepts is accepted."""
    KEYWORDS[name].parse(word)


@EVERY
def test_the_type_knows_every_word_that_the_sentence_offers(keyword):
    """The words of a choice are those of the type."""
    with pytest.raises(ValueError, match="it must be") as caught:
        keyword.parse(object())
    if keyword.parse.__qualname__.startswith("choice."):
        assert {word for owner, word in WORDS if owner == keyword.name} == set(
            str(caught.value).split("'")[1::2]
        )


@EVERY
def test_a_default_is_what_the_parser_gives_and_can_be_shown(keyword):
    """So that nobody meets a value of another type where the keyword is not given."""
    if keyword.default is not None:
        shown = keyword.show(keyword.default)
        assert shown
        assert isinstance(
            keyword.default,
            type(keyword.parse(keyword.default if keyword.name != "forward" else "fixtures")),
        )


@pytest.mark.parametrize("keyword", LIMITS, ids=[each.name for each in LIMITS])
def test_a_limit_is_a_number_with_a_unit_and_nothing_by_default(keyword):
    """A report says limits as numbers, in the unit that the documentation names."""
    value = keyword.parse(1 << 24 if "bytes" in keyword.unit else 64)
    assert isinstance(value, int | float)
    assert keyword.unit
    assert keyword.default is None
    assert keyword.show(value) != ""


class Read(Spec):
    """A spec that notes which of its keywords somebody looks at."""

    def __getattribute__(self, name):
        """Note the name."""
        if name in KEYWORDS:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()
GIVEN = {
    "bind": (Bind("/srv", "/srv"),), "fs_hide": ("/srv/a",), "user": 0, "profile": "strict",
    **{each.name: each.parse(1 << 24 if "bytes" in each.unit else 64) for each in LIMITS},
}  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("uid", [0, 1000], ids=["root", "user"])
@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
def test_a_plan_is_made_from_no_keyword_that_its_key_lacks(fs, uid, version):
    """Or a test would get the sandbox of one that asked for something else."""
    place = hierarchy.of(version, "/sys/fs/cgroup/x")
    places = dict.fromkeys(
        ("memory", "pids", "cpu", *(["io"] if version == 2 else ["cpuacct", "blkio"])), place
    )
    mounts = tuple(
        MountPoint(1, 0, "/", path, frozenset(), kind, frozenset())
        for path, kind in (("/", "ext4"), ("/proc", "proc"))
    )
    host = Host(gid=uid, places=places, obstacles={}, mounts=mounts, here=Environment(uid=uid))
    defaults = {name: keyword.default for name, keyword in KEYWORDS.items()} | {"fs": fs}
    READ.clear()
    for given in ({}, GIVEN, {"net": False}):
        planning.plan(Read(**defaults | given, origins={}), host, Root(), ["/tmp"])
    as_root = set() if uid else {"user"}  # whose identity the test takes by itself
    assert {
        keyword.name for keyword in KEYWORDS.values() if keyword.recipe is not None
    } - as_root == READ


def test_a_key_tells_recipes_apart_and_nothing_else():
    """``cpu_time`` counts by whether it is given, ``timeout`` not at all."""
    defaults = {name: keyword.default for name, keyword in KEYWORDS.items()}

    def key(**keywords):
        return Spec(**defaults | keywords, origins={}).recipe_key

    assert key(memory=1 << 24) != key() != key(net=False)
    assert key(cpu_time=1.0) == key(cpu_time=2.0) != key()
    assert key(timeout=1.0, leaks="error", net="deny") == key()
