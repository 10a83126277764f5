"""Builds, enters and ends sandboxes. Knows nothing of pytest."""
