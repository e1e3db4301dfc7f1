"""Pays for the reward that an environment shows for each step, beside what is learnt."""

from __future__ import annotations

from rrm.control import Floats, Lived, StepTerm


class Visible(StepTerm):
    """The visible reward: a known part, where what is not known is what it leaves out."""

    def steps(self, lived: Lived) -> Floats:
        return lived.visible
