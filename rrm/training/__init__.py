"""Feedback to reward model, reward model to better agent."""
