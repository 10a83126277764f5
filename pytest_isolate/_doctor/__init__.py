"""What this machine can do, and what helps where it cannot."""
