"""The test's own process: what it is given, and what it does."""
