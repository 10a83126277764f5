"""The marker's type, which type checkers only read, against what the plugin takes."""

import ast
import inspect
from pathlib import Path

import pytest

from pytest_isolate import _typing
from pytest_isolate._config import options


def _annotations():
    """The keywords of the overload that takes some, and what each is said to be."""
    tree = ast.parse(Path(inspect.getsourcefile(_typing)).read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__call__"]
    (keywords,) = (call.args.kwonlyargs for call in calls if call.args.kwonlyargs)
    return {each.arg: each.annotation for each in keywords}


ANNOTATIONS = _annotations()
WORDS = [
    (name, ast.literal_eval(word))
    for name, annotation in ANNOTATIONS.items()
    for literal in ast.walk(annotation)
    if isinstance(literal, ast.Subscript) and getattr(literal.value, "id", "") == "Literal"
    for word in (literal.slice.elts if isinstance(literal.slice, ast.Tuple) else [literal.slice])
]


def test_the_type_has_every_keyword():
    """A keyword added to the table is added to the type, or using it is a type error."""
    assert ANNOTATIONS.keys() == options.KEYWORDS.keys()


@pytest.mark.parametrize(("name", "word"), WORDS, ids=str)
def test_the_type_knows_no_word_that_is_refused(name, word):
    """What a type checker accepts is accepted."""
    options.KEYWORDS[name].parse(word)


@pytest.mark.parametrize(("name", "keyword"), options.KEYWORDS.items(), ids=options.KEYWORDS)
def test_the_type_knows_every_word_that_the_sentence_offers(name, keyword):
    """The words of a choice are those of the type."""
    with pytest.raises(ValueError, match="it must be") as caught:
        keyword.parse(object())
    if keyword.parse.__qualname__.startswith("choice."):
        assert {word for owner, word in WORDS if owner == name} == set(str(caught.value).split("'")[1::2])
