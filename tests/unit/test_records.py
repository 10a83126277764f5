"""Records: dataclasses for processes that start fast."""

import pytest

from pytest_isolate._sandbox import overlays, steps
from pytest_isolate._sandbox.overlays import Hosts, Overlay
from pytest_isolate._sandbox.recipe import Recipe
from pytest_isolate._sandbox.records import Record
from pytest_isolate._sandbox.step import Action, Step
from pytest_isolate._sandbox.steps import Bind, Mkdir, Mount


def test_fields_are_given_in_their_order_or_by_name_and_have_defaults():
    """As of a dataclass."""
    assert (
        Bind("/a", "/b")
        == Bind(target="/b", source="/a", read_only=False)
        != Bind("/a", "/b", read_only=True)
    )
    assert repr(Mkdir("/a")) == "Mkdir(path='/a', mode=493)"
    assert Mkdir("/a").replace(mode=0o700) == Mkdir("/a", 0o700)
    assert Bind("/a", "/b") != Mount("/a", "/b", "", 0, "")


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), (("/a",), {}), (("/a", "/b", True, 1), {}), (("/a", "/b"), {"way": 1})],
)
def test_a_field_too_few_or_too_many_is_a_type_error(values, named):
    """When the plan is made, and not in the builder."""
    with pytest.raises(TypeError, match="Bind takes source, target, read_only; there are "):
        Bind(*values, **named)


def test_a_recipe_of_all_that_a_plan_has_in_it_is_the_same_behind_the_channel():
    """Records in records, names with surrogates, numbers of 64 bits, nothing."""
    hosts = Hosts("/etc/hosts", "box", ("127.0.0.1",))
    overlay = Overlay(
        "/", ("/over", "/"), "/proc/0", "/proc/root", True, ("var", "var/\udcff"), 1 << 40, hosts
    )
    recipe = Recipe(
        1 << 40, None, "/proc", (Mkdir("/a"), overlay), {"pids": {"pids.max": "5"}}, waits=True
    )
    assert Recipe.unpack(recipe.pack()) == recipe
    with pytest.raises(TypeError, match="a Hosts was expected, not a Recipe"):
        Hosts.unpack(recipe.pack())


@pytest.mark.parametrize("module", [steps, overlays])
def test_every_step_says_its_name_and_a_path(module):
    """Or a sandbox that could not be built would have no better word for it than our own names."""
    kinds = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Step) and each not in {Step, Action}
    ]
    assert len(kinds) > 4
    for kind in kinds:
        step = kind(**dict.fromkeys(kind.field_names, "/x"))
        assert step.said == step.said.lower()
        assert step.path_said in {"/x", "lo"}
    assert (
        overlays.OverlayOrReadOnly("/", ("/",), "", "", user=False).said == "overlay or read only"
    )


def test_two_records_of_one_name_would_be_one_in_the_builder():
    """So there are none."""
    names = [each.__name__ for each in _all(Record)]
    assert len(names) == len(set(names))


def _all(kind):
    for each in kind.__subclasses__():
        yield each
        yield from _all(each)
