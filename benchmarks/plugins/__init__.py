"""What runs inside pytest while it is measured: plugins for ``-p``."""
