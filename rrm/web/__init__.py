"""The page and the interface on which people judge a run: served on this machine, for links that are signed."""
