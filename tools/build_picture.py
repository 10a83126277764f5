"""Draw docs/images/terminal.svg: what README's example prints in a terminal with colours.

``python tools/build_picture.py`` runs ``docs/recipes/first`` on a terminal of its own and writes
what it says as a picture that follows the reader's light or dark scheme.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from fcntl import ioctl
from html import escape
from pathlib import Path
from termios import TIOCSWINSZ

PROJECT = Path(__file__).resolve().parent.parent
PICTURE = PROJECT / "docs" / "images" / "terminal.svg"
COLUMNS = 88
WIDTH, HEIGHT, MARGIN = 8.4, 19, 16  # of a character of 14 pixels, in pixels
#: Colours of a terminal's eight, light and dark; each is legible on its ground.
GROUND, TEXT = ("#ffffff", "#0d1117"), ("#1f2328", "#e6edf3")
COLOURS = {
    31: ("#b3001b", "#ff7b72"),
    32: ("#116329", "#56d364"),
    33: ("#7d4e00", "#e3b341"),
    34: ("#0550ae", "#79c0ff"),
    35: ("#8250df", "#d2a8ff"),
    36: ("#0a6470", "#56d4dd"),
    90: ("#59636e", "#9198a1"),
}
_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|^.*\r(?=.)|\r$", re.MULTILINE)


def main() -> int:
    """Run the example and write the picture. Returns the exit status."""
    with tempfile.TemporaryDirectory() as directory:
        there = Path(directory) / "shop"
        shutil.copytree(PROJECT / "docs" / "recipes" / "first", there)
        shown = _run([sys.executable, "-m", "pytest", "-p", "isolate"], there)
        shown = shown.replace(str(there), "/home/you/shop")
    PICTURE.write_text(draw(["$ pytest -p isolate", *_folded(shown)]), encoding="utf-8")
    return 0


def _run(command: list[str], there: Path) -> str:
    """What a command says on a terminal."""
    own, its = pty.openpty()
    ioctl(its, TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CI", "NO_COLOR"))}
    environment = kept | {
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TERM": "xterm-256color",
    }
    with subprocess.Popen(command, cwd=there, env=environment, stdin=its, stdout=its, stderr=its):
        os.close(its)
        parts = []
        while part := _read(own):
            parts.append(part)
    os.close(own)
    return b"".join(parts).decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the kernel's way to say that nobody has the other end any more
        return b""


def _folded(shown: str) -> list[str]:
    """Lines no longer than the terminal is wide, without what only moves a cursor."""
    folded: list[str] = []
    for line in _OTHER.sub("", shown).rstrip("\n").split("\n"):
        width, start, at = 0, 0, 0
        while at < len(line):
            if sequence := _SEQUENCE.match(line, at):
                at = sequence.end()
                continue
            if width == COLUMNS:
                folded.append(line[start:at])
                width, start = 0, at
            width, at = width + 1, at + 1
        folded.append(line[start:].rstrip())
    return folded


def draw(lines: list[str]) -> str:
    """Make the picture of lines with colours."""
    style = [f".t{code}{{fill:{light}}}" for code, (light, _) in COLOURS.items()]
    dark = [f".t{code}{{fill:{dark}}}" for code, (_, dark) in COLOURS.items()]
    rows, classes = [], set[str]()
    for number, line in enumerate(lines):
        parts, end = [], 0
        for sequence in [*_SEQUENCE.finditer(line), None]:
            text = line[end : sequence.start() if sequence else len(line)]
            if text:
                parts.append(f'<tspan class="{" ".join(sorted(classes))}">{escape(text)}</tspan>')
            if sequence is not None:
                classes = _after(classes, sequence.group(1))
                end = sequence.end()
        y = MARGIN + HEIGHT * (number + 0.75)
        rows.append(f'<text x="{MARGIN}" y="{y:g}">{"".join(parts)}</text>')
    width, height = round(COLUMNS * WIDTH + 2 * MARGIN), HEIGHT * len(lines) + 2 * MARGIN
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' role="img" aria-label="pytest: two tests pass, the third is killed at 64 MiB">',
        "<style>",
        f"rect{{fill:{GROUND[0]};stroke:#8b949e}}",
        f"text{{fill:{TEXT[0]};white-space:pre}}",
        "text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}",
        *style,
        ".t1{font-weight:bold}",
        f"@media(prefers-color-scheme:dark){{rect{{fill:{GROUND[1]}}}text{{fill:{TEXT[1]}}}",
        *dark,
        "}",
        "</style>",
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="6"/>',
        *rows,
        "</svg>",
        "",
    ))  # fmt: skip


def _after(classes: set[str], codes: str) -> set[str]:
    """Return the classes of what follows a sequence."""
    for code in map(int, filter(None, codes.split(";") or ["0"])):
        colour = {f"t{each}" for each in COLOURS}
        if code == 0:
            classes = set()
        elif code == 39:
            classes = classes - colour
        elif code == 22:
            classes = classes - {"t1"}
        else:
            kept = classes - colour if code in COLOURS or code - 60 in COLOURS else classes
            found = code if code in COLOURS or code == 1 else code - 60
            classes = kept | ({f"t{found}"} if found in COLOURS or found == 1 else set())
    return classes if codes else set()


if __name__ == "__main__":
    sys.exit(main())
