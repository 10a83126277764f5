"""What is known of pytest and of other plugins beyond their public names."""
