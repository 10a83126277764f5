"""The console script ``pytest-isolate``."""
