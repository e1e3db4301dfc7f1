"""A person at a terminal: shows each case, with the helpers' answers, and takes the verdict by a key."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Final, Literal, Self

from pydantic import Field
from rich.console import Console
from rich.text import Text

from rrm.evaluators._screen import draw_case
from rrm.inert import inert
from rrm.records import Abstention, ActionLabels, Case, Feedback, Preference, Ranking, Rating, StepLabels
from rrm.roles import Evaluator, Task
from rrm.seed import Seed

HELP = """\
Of several answers, which is best:
1 2 …   the answer of this number is; several numbers (1 3): these are, and equally so
=       they are equally good
Of a single answer, how good it is:
0 … 9   0 is worthless, 9 is as good as it could be
3+ 7-   of one that is made of steps: the third was good, and the seventh bad
3U 7R   or what should have been done there
Always:
?       I cannot tell (nothing is learnt from this case)
e, e2   open all exhibits, or the second: what the helpers were asked, and what they said
u       undo: judge the case before once more
q       stop; what was said is kept, and running the same plan again goes on from here
Helpers may be wrong. What they and the answers say is shown as text: ‹U+202E› is a character that hides."""


class Terminal(Evaluator):
    """Asks whoever sits there, on standard error, so that standard output stays free for results.

    A verdict is handed on when the next one is given, until when it can be undone: a power cut loses at most one.
    Ctrl-C and Ctrl-D stop as `q` does. For tests, and for other front ends, what is read, the console, and the clock
    can be replaced.
    """

    class Settings(Evaluator.Settings):
        person: str = Field(default="person", min_length=1)
        """Who is judging, for the record."""
        show_exhibits: Literal["open", "folded"] = "open"
        """Folded, an exhibit shows its title until it is opened; the record says which were."""

    settings: Settings

    interactive = True

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self.read: Callable[[], str] = lambda: sys.stdin.readline()
        """The next line, with its end; "" when there is no more."""
        self.console: Console | None = None
        self.clock: Callable[[], float] = monotonic
        self.place = ""
        """The node and its level, for the screen."""

    def seated(self, node: str, level: int) -> Self:
        new = copy.copy(self)
        new.place = f"{node}, level {level}"
        return new

    def judge(self, task: Task, cases: Sequence[Case], *, seed: Seed, done: int = 0) -> Iterator[Feedback]:
        sitting = _Sitting(self, task, total=len(cases) + done)
        held: Feedback | None = None
        at = 0
        while at < len(cases):
            said = sitting.ask(cases[at], number=done + at + 1, can_undo=held is not None)
            if said == "stop":
                break
            if said == "undo":
                held, at = None, at - 1
                continue
            if held is not None:
                yield held
            held, at = said, at + 1
        if held is not None:
            yield held


class _Sitting:
    """One person's way through a list of cases."""

    def __init__(self, terminal: Terminal, task: Task, total: int) -> None:
        self._terminal, self._task, self._total = terminal, task, total
        self._console = terminal.console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._seconds: dict[str, float] = {}
        self._opened: dict[str, set[str]] = {}

    def ask(self, case: Case, *, number: int, can_undo: bool) -> Feedback | Literal["undo", "stop"]:
        started = self._terminal.clock()
        shut = self._terminal.settings.show_exhibits == "folded"
        opened = self._opened.setdefault(case.id, set() if shut else {e.id for e in case.exhibits})
        try:
            self._draw(case, number)
            while True:
                self._tell(_keys(self._task, case, opened, can_undo=can_undo), end=" ")
                line = self._terminal.read()
                key = line.strip().lower()
                if not line or key == "q":
                    self._leave(line)
                    return "stop"
                if key == "u" and can_undo:
                    return "undo"
                if key == "h":
                    self._tell(HELP)
                elif not case.exhibits and key[:1] == "e" and (key == "e" or key[1:].strip().isdecimal()):
                    self._tell("There are no exhibits: nobody was asked about this case.")
                elif key[:1] == "e" and (found := _which(key[1:], case)):
                    opened.update(found)
                    self._draw(case, number)
                elif said := _verdict(case, key) or _of_steps(self._task, case, key):
                    kind, content = said
                    seconds = self._seconds.get(case.id, 0.0) + self._terminal.clock() - started
                    seen = tuple(dict.fromkeys(e.id for e in case.exhibits if e.id in opened))
                    person = self._terminal.settings.person
                    return kind(case=case.id, evaluator=person, seconds=round(seconds, 3), seen=seen, **content)
                elif key:
                    self._tell("There is nothing to undo." if key == "u" else "That is not one of the keys; h: help.")
        except KeyboardInterrupt:
            self._leave("")
            return "stop"
        finally:  # a case that is undone took all the time that was spent on it
            spent = self._terminal.clock() - started
            self._seconds[case.id] = self._seconds.get(case.id, 0.0) + spent

    def _leave(self, line: str) -> None:
        """End the line of the question, unless whoever typed the answer did: what is said next begins a line."""
        if not (line.endswith("\n") and sys.stdin.isatty()):
            self._tell("")

    def _draw(self, case: Case, number: int) -> None:
        place = [self._terminal.place, _round(case), f"case {number} of {self._total}"]
        place += [f"in the record {case.place}"] if case.place else []
        draw_case(self._console, self._task, case, self._opened[case.id], ", ".join(p for p in place if p))

    def _tell(self, text: str, end: str = "\n") -> None:
        self._console.print(Text(text), end=end, soft_wrap=True)


def _round(case: Case) -> str:
    """Of the stream in a case's place, in words; rounds count from 0, as in the record."""
    stream = case.place.rpartition("/")[0]
    number = stream.removeprefix("gate-")
    if not (number.isascii() and number.isdecimal()):
        return ""
    return f"round {int(number)}" if stream == number else f"gate after round {int(number)}"


_Verdict = tuple[Callable[..., Feedback], dict[str, Any]]


def _verdict(case: Case, key: str) -> _Verdict | None:
    count = len(case.responses)
    if key == "?":
        return Abstention, {"reason": "cannot tell"}
    if count == 1:
        return (Rating, {"score": int(key) / 9}) if len(key) == 1 and key in "0123456789" else None
    everyone: Final = set(range(count))
    places = {str(i + 1): i for i in everyone}
    numbers = key.replace(",", " ").split()
    if key == "=":
        best = everyone
    elif numbers and places.keys() >= set(numbers):
        best = {places[n] for n in numbers}
    else:
        return None
    if count == 2:
        return Preference, {"first_better": 0.5 if best == everyone else float(0 in best)}
    tiers = (tuple(sorted(best)), tuple(sorted(everyone - best)))
    return Ranking, {"tiers": tiers if best != everyone else tiers[:1]}


def _of_steps(task: Task, case: Case, key: str) -> _Verdict | None:
    """ "3+ 7-" and "3u 7r", of the only answer, where it is made of steps."""
    moves = {move.lower(): move for move in task.moves(case.item)} if len(case.responses) == 1 else {}
    found = [re.fullmatch(r"([0-9]{1,6})(.)", part) for part in key.split()]
    told = {int(f[1]) - 1: f[2] for f in found if f}
    if not moves or not told or not all(found) or not told.keys() <= {t for some in task.judgeable(case) for t in some}:
        return None
    steps = range(max(told) + 1)
    if set(told.values()) <= {"+", "-"}:
        return StepLabels, {"labels": tuple(float(told[t] == "+") if t in told else None for t in steps)}
    if set(told.values()) <= moves.keys():
        return ActionLabels, {"labels": tuple(moves[told[t]] if t in told else "" for t in steps)}
    return None


def _which(number: str, case: Case) -> set[str]:
    """The ids of the exhibits that `e` or `e2` opens; none if there is no such one."""
    chosen = [e.id for i, e in enumerate(case.exhibits, start=1) if number.strip() in ("", str(i))]
    return set(chosen)


def _keys(task: Task, case: Case, opened: set[str], *, can_undo: bool) -> str:
    count, shut = len(case.responses), any(e.id not in opened for e in case.exhibits)
    if count == 1:
        ask = "How good is this one answer? Rate it: 0 worthless … 9 as good as could be,"
        if moves := task.moves(case.item):
            named = [inert(move).strip() or "space" for move in moves]
            ask += f" or its steps: 3+ 7- good and bad, 3{named[0]} what to do ({' '.join(named)}),"
    else:
        ask = f"Which answer is best? Its number, 1 to {count}, = the same,"
    rest = [" ? cannot tell", "e open" if shut else "", "u undo" if can_undo else "", "q stop", "h help:"]
    return ask + ", ".join(r for r in rest if r)
