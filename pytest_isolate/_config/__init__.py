"""What users type, for one test."""
