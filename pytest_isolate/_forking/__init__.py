"""What a copy of a running Python does wrong, and what is done about it."""
