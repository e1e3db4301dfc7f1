"""A plug-in in small: which weekday comes some days after another."""
