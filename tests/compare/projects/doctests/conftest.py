import pytest


@pytest.fixture(autouse=True)
def names(doctest_namespace): doctest_namespace["name"] = "of the name space"
