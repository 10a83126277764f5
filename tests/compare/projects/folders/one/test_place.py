import os


def test_place(place, request):
    print(place, __name__, os.path.relpath(os.getcwd(), request.config.rootpath))
    assert place == 0
def test_good(place): pass
