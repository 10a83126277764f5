"""What is told of the tests: machine-readable reports and lines for people."""
