def test_sets(cache):
    count = cache.get("ours/count", 0)
    print("count", count)
    cache.set("ours/count", count + 1)
    (cache.mkdir("made") / "file").write_text("kept")
    assert count == 5
def test_sees(cache): print("sees", cache.get("ours/count", 0)); assert 0
