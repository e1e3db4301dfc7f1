"""A trial as it stands in the record: what was compared, and who was to judge what with which help."""

from __future__ import annotations

from pydantic import JsonValue

from rrm.records import Record

NODE, STREAM, ASKED = "study", "trials", "trial"
"""Where trials are listed; and where it stands which one a run is to do."""

SEATS = "trial"
"""The streams of its judgements, under its own key: `trial/cases` and `trial/feedback`, numbered as its design."""


class Cell(Record):
    """One arm, at one budget of time."""

    name: str
    seconds: float | None = None
    """The budget of time for a judgement; None: what people want."""
    control: int
    """The cell that it is held against; its own place for a control."""


class TrialRecord(Record):
    """An entry of the stream ("study", "trials"). What was judged, and how, stands under its key."""

    key: str
    arm: str
    """Id of the study's arm whose agents answered and helped."""
    node: str
    cells: tuple[Cell, ...]
    raters: tuple[str, ...]
    """Who they are, by name."""
    design: tuple[tuple[int, int, int], ...]
    """Rater, case and cell of each judgement; a rater's stand in the order in which they were to be judged."""


class TrialAsked(Record):
    """An entry of the stream ("study", "trial"): the trial that a run is to do, so that who goes on with it knows."""

    plan: dict[str, JsonValue] | None = None
    """As `rrm.plan.Trial` takes it; None: none."""
    folder: str = ""
    """Where the plan stood: what its components' files are relative to."""
