"""Every use of what pytest does not promise, each with its reason, and what other plugins need of
us.

Tested on pytest 8.4, 9.0, 9.1 and 9.2. Nothing else in the package may import ``_pytest``
(import-linter has a contract for it) or touch a name of pytest's that starts with an underscore.
"""
