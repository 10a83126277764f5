import hashlib
import shutil
from pathlib import Path


def prune(keep):
    """Delete all but the newest backups."""
    for old in sorted((Path.home() / "backups").iterdir())[:-keep]:
        shutil.rmtree(old)


def checksum(path):
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
