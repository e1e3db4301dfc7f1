"""Says again what was said in an earlier run: to train another model on the same judgements, or to check a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from rrm.records import FEEDBACK, Abstention, Case, Feedback, Rejudged
from rrm.roles import Evaluator, Task
from rrm.seed import Seed
from rrm.store import Store


class Replay(Evaluator):
    """Looks each case up by its id in another run's record; a case that is not there, it abstains on.

    A case's id covers its item, answers (and who gave them), help, and place in the rounds: so this finds a case of a
    run that came to the same one. What was said comes back as it was, with the name of who said it. Raises StoreError
    if there is no run in the folder.
    """

    class Settings(Evaluator.Settings):
        run: str
        """The other run's folder."""
        evaluator: str = ""
        """Only what the evaluator of this name said there; empty: whoever spoke first."""

    settings: Settings
    paths = ("run",)

    reproducible = True

    def reads(self) -> Sequence[Path | bytes]:
        """What was said there, and nothing else of that run: it may go on, and stay the same to this evaluator."""
        return ("\n".join(sorted(feedback.id for feedback in self._said.values())).encode(),)

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        said, where = self._said, Path(self.settings.run).name
        for case in cases:
            found = said.get(case.id)
            yield found or Abstention(case=case.id, evaluator=self.name(), reason=f"the case was not judged in {where}")

    @cached_property
    def _said(self) -> Mapping[str, Feedback]:
        store, wanted = Store(Path(self.settings.run), create=False), self.settings.evaluator
        said: dict[str, Feedback] = {}
        again = {entry.key for entry in store.read("study", "rejudged", Rejudged).values()}
        for node, stream in store.places():
            if not stream.endswith("/feedback") or node in again:  # another's opinion, asked for later
                continue
            entries: Mapping[int, Feedback] = store.read(node, stream, FEEDBACK)
            for feedback in entries.values():
                if wanted in ("", feedback.evaluator):
                    said.setdefault(feedback.case, feedback)
        return said
