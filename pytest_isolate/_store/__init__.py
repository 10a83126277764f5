"""Directories kept between runs, each built once. Knows nothing of pytest."""
