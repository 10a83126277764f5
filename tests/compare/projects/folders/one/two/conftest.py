import pytest


@pytest.fixture
def place(place): return [*place, "two"]
