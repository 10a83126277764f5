import os

import pytest


@pytest.fixture(scope="session")
def shared():
    return {"list": [1], "text": "untouched", "nested": {"a": [0]}}
@pytest.fixture(scope="session")
def settings():
    os.environ["OF_FIXTURE"] = "set"
    yield
    print("torn down with", os.environ["OF_FIXTURE"])
@pytest.mark.parametrize("number", range(3))
def test_mutates(shared, settings, number):
    assert shared == {"list": [1], "text": "untouched", "nested": {"a": [0]}}
    shared["list"].append(number)
    shared["nested"]["a"].clear()
    shared["text"] = "touched"
    assert os.environ.pop("OF_FIXTURE") == "set"
def test_sees_nothing(shared): assert shared["nested"] == {"a": [0]}
