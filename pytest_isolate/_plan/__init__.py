"""From what a test asks for, on this machine, to the steps that build its sandbox."""
