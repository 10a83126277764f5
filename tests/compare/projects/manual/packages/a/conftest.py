import pytest


class DB: pass
@pytest.fixture(scope="package")
def db():
    print("made")
    yield DB()
    print("given back")
