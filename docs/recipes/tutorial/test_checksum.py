import backup

from pytest_isolate import isolate


@isolate(memory="64M")
def test_checksum_of_a_large_file(tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    backup.checksum(large)
