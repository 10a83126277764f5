"""Images of containers: read from a directory or an archive, checked, and unpacked to a tree."""
