import pytest


@pytest.fixture(scope="package")
def overridden(overridden, four): return [*overridden, "package"]
@pytest.fixture(autouse=True, scope="package")
def always(four): yield
