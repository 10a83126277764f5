"""From evidence to a judgement, in sentences."""
