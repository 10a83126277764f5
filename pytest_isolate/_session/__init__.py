"""What the isolated tests of one run of pytest share."""
