import pytest

runs = []


@pytest.fixture
def own():
    print("set up own")
    yield
    print("tear down own")
@pytest.mark.retries
def test_third_time(wide, own):
    runs.append(1)
    print("run", len(runs))
    assert len(runs) == 3
@pytest.mark.retries
def test_never(wide, own): assert 0
@pytest.mark.retries
def test_at_once(tmp_path): pass
def test_not_retried(wide): assert wide is None
