import pytest


@pytest.mark.parametrize("text", ["x" * 5000, "é" * 3000, "[::]/" * 900], ids=str)
def test_long(text, tmp_path): assert text[0] == "x"
