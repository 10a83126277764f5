import hashlib
import shutil
from pathlib import Path


def prune(keep):
    """Delete all but the newest backups."""
    for old in sorted((Path.home() / "backups").iterdir())[:-keep]:
        shutil.rmtree(old)


def checksum(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
