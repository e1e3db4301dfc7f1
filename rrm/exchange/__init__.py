"""Feedback in and out: what was judged in a run as tables and pairs, and what was judged elsewhere as cases."""
