"""Randomised trials of help: what helpers' answers are worth to the person who judges.

from rrm.seed import Seed
from rrm.trial import assign

for one in assign(raters=8, cases=40, arms=2, seed=Seed(0)):
    ...  # one.rater judges case one.case in arm one.arm, as the one.place-th
"""

from rrm.trial.analysis import ArmResult, TrialResult, Turned, analyse
from rrm.trial.design import Assigned, assign
from rrm.trial.judgements import Judgements
from rrm.trial.people import People
from rrm.trial.power import Size

__all__ = ["ArmResult", "Assigned", "Judgements", "People", "Size", "TrialResult", "Turned", "analyse", "assign"]
