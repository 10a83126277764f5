from pytest_isolate import isolate


def invoice(*prices):
    return {"prices": list(prices), "total": sum(prices)}


@isolate
def test_invoice(snapshot):
    assert invoice(20, 22) == snapshot
