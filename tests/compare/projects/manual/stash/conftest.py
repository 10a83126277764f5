import pytest

been_there_key = pytest.StashKey[bool]()
done_that_key = pytest.StashKey[str]()


def pytest_addhooks(pluginmanager):
    class Specifications:
        @staticmethod
        @pytest.hookspec
        def pytest_my_hook(item): """Called by a fixture and by another hook."""
    pluginmanager.add_hookspecs(Specifications)
def pytest_my_hook(item): print("my hook of", item.name)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[been_there_key] = True
    item.stash[done_that_key] = "no"
    item.ihook.pytest_my_hook(item=item)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    if not item.stash[been_there_key]:
        print("Oh?")
    item.stash[done_that_key] = "yes!"
    print("nodes have", sorted(node.name for node in item.listchain() if node.stash.get(been_there_key, False)))
@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    print("before", pyfuncitem.stash[done_that_key])
    try:
        res = yield
    except OSError as error:
        pytest.skip(f"no service: {error}")
    print("after", res)
    return res
@pytest.fixture
def stashed(request):
    request.config.hook.pytest_my_hook(item=request.node)
    return request.node.stash[done_that_key]
@pytest.fixture(scope="module", autouse=True)
def wide(request):
    request.node.stash[been_there_key] = True
    request.session.stash[been_there_key] = True
