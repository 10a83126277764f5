"""What a test's process tells pytest, and what becomes of it there."""
