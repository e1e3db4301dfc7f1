"""Making an agent better by a reward model."""
