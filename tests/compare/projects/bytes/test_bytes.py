import os
import sys

import pytest


@pytest.mark.parametrize("outcome", [True, False])
class TestBytes:
    def test_raw(self, outcome): sys.stdout.buffer.write(b"raw \xff\xfe\x80 bytes\n"); assert outcome
    def test_descriptor(self, outcome): os.write(1, b"raw \xc3\x28\n"); os.write(2, b"err \xe2\x82\n"); assert outcome
    def test_surrogate_out(self, outcome):
        sys.stdout.write("surrogate ")
        try:
            sys.stdout.write("\udcff\n")
        except UnicodeEncodeError as error:
            print(error)
        assert outcome
    def test_surrogate_message(self, outcome): assert outcome, "message \udcff"
    def test_surrogate_value(self, outcome): assert outcome or "value \udcff \ud800" == ""
    def test_control(self, outcome): print("a\x00b\x1b[31mred\x1b[0m\rover\x07"); assert outcome, "\x00 \x1b[31m"
    def test_nul_bytes(self, outcome): assert outcome or b"\x00\xff" == b""
    def test_no_newline(self, outcome): print("no newline", end=""); assert outcome
    def test_carriage(self, outcome): print("one\r\ntwo\rthree"); assert outcome
