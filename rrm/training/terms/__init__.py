"""Parts of the reward that are given, not learnt."""
