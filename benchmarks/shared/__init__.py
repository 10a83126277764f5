"""What the scripts of this directory share."""
