"""Assistants: one file is one."""
