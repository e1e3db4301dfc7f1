"""Task families: one file is one."""
