import os


def test_quiet(): pass
def test_passes():
    for _ in range(50): os.write(1, b"0123456789abcde\n" * 65536)
def test_fails():
    for _ in range(50): os.write(1, b"0123456789abcde\n" * 65536)
    assert 0
def test_fails_in_other_letters():
    for _ in range(40): os.write(1, "\U0001f600".encode() * (1 << 18)); os.write(2, "é".encode() * (1 << 19))
    assert 0
