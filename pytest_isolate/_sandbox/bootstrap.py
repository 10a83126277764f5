"""How a helper process of this package is started: on a bare interpreter, with what it names and
nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
# The package's own __init__ imports pytest, which helpers do without: they get an empty package in
# its place.
_BOOTSTRAP = """{title}
import sys, types
package = types.ModuleType("pytest_isolate")
package.__path__ = [{package!r}]
sys.modules["pytest_isolate"] = package
sys.path += {path!r}
from {module} import main
main()
"""


def command(module: str, path: list[str], title: str = "") -> list[str]:
    """Give the command that runs a module's ``main``, with ``path`` behind the standard library.

    ``title`` is a comment by which it is known among processes.
    """
    code = _BOOTSTRAP.format(package=str(_PACKAGE), path=path, module=module, title=title)
    return [sys.executable, "-I", "-S", "-c", code]
