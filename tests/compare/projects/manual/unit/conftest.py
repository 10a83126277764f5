import pytest


@pytest.fixture(scope="class")
def db_class(request):
    class DummyDB: pass

    # set a class attribute on the invoking test context
    request.cls.db = DummyDB()
    print("class has", sorted(name for name in vars(request.cls) if name in {"db", "early"}))
    yield
    print("db is there still:", isinstance(request.cls.db, DummyDB))
