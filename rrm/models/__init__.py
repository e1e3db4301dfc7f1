"""Torch that several rooms share."""
