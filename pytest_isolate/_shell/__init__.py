"""A shell in a sandbox: who can be entered, the way in, and the terminal of the person outside."""
