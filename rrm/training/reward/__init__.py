"""Learning a reward model from feedback."""
