"""What pyproject.toml in pytest's rootdir says of this plugin; a file that does not name it costs no TOML parser."""

from __future__ import annotations

import sys
from pathlib import Path


def speaks_of(path: Path, name: str) -> bool:
    """Whether the file may have such a value: without a parser."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:  # whoever reads it says so
        return True
    return b"pytest_isolate" in text and name.encode() in text


def table(path: Path, name: str) -> object:
    """``[tool.pytest_isolate]``'s value of that name, None without one. Raises ``ValueError`` with a sentence."""
    if not speaks_of(path, name):
        return None
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        found: object = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    for key in ("tool", "pytest_isolate"):
        found = found.get(key) if isinstance(found, dict) else None
    return found.get(name) if isinstance(found, dict) else None
