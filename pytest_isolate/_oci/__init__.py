"""A sandbox as a bundle of the Open Container Initiative: for runc, crun, and what uses them."""
