"""Apply a permutation 2 ** power times: judged by asking twice for half as many steps, one half after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations
from random import Random

from pydantic import Field

from rrm import Asking, Block, Case, ComponentError, Item, Query, Subtask, Table, Task, Text
from rrm_tasks._reading import number, told
from rrm_tasks._split import draw

_HIGHEST_POWER = 16
_SHAPE = re.compile(r"2\^([0-9]{1,2}) from ([0-9]{1,2}) in ([0-9]{1,2}(?: [0-9]{1,2})*)")


class PermutationPower(Task):
    """The first task of Christiano et al. 2018, section 3: "2^3 from 0 in 2 0 1" asks where 8 steps from 0 lead.

    Place i leads to the i-th number of the list. The two questions are sequential: the second starts where the first
    answer says that half of the steps lead. `budget` is how many single steps the person takes for one judgement. Who
    can take fewer than are needed says where it got to.
    """

    class Settings(Task.Settings):
        """How many elements, and how many steps."""

        elements: int = Field(default=5, ge=2, le=64)
        """How many elements are permuted."""
        power: int = Field(default=2, ge=0, le=_HIGHEST_POWER)
        """The permutation is applied 2 ** power times."""

    settings: Settings
    subtasks = (Subtask(name="half", task="permutation-power", question="Where do half as many steps lead?"),)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        s = self.settings

        def drawn() -> str:
            return _prompt(rng.sample(range(s.elements), s.elements), rng.randrange(s.elements), s.power)

        return self._item(drawn() if s.elements <= 5 else draw(drawn, held_out=held_out))

    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        places = range(self.settings.elements)
        if len(places) > 5:
            return None
        return [
            self._item(_prompt(steps, start, self.settings.power)) for steps in permutations(places) for start in places
        ]

    def queries(self, case: Case) -> Asking:
        steps, start, power = _parse(case.item)
        if power == 0:
            return
        answer = yield Query(subtask="half", item=self._item(_prompt(steps, start, power - 1)))
        half_way = None if answer is None else number(answer.text)
        if half_way is not None and 0 <= half_way < len(steps):
            yield Query(subtask="half", item=self._item(_prompt(steps, half_way, power - 1)))

    def answers(self, item: Item) -> Sequence[str]:
        return [str(place) for place in range(self.settings.elements)]

    def vocabulary(self) -> Sequence[str]:
        powers = [f"2^{power}" for power in range(_HIGHEST_POWER + 1)]
        return [*map(str, range(self.settings.elements)), "from", "in", *powers]

    def accepts(self, item: Item) -> bool:
        try:
            steps, _, power = _parse(item)
        except ComponentError:
            return False
        return len(steps) == self.settings.elements and power == self.settings.power

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        steps, place, power = _parse(case.item)
        left = 2**power
        for _ in range(2 if power else 0):
            # the second answer is to the question that the first one led to
            led = told(case, "half", _prompt(steps, place, power - 1), most=len(steps) - 1)
            if led is None:
                break
            place, left = led, left - 2 ** (power - 1)
        place = _walk(steps, place, min(left, budget))
        return [float(number(response.text) == place) for response in case.responses]

    def truth(self, item: Item, text: str) -> float:
        steps, start, power = _parse(item)
        return float(number(text) == _walk(steps, start, 2**power))

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text),)
        steps, start, power = _parse(item)
        rows = tuple((str(place), str(to)) for place, to in enumerate(steps))
        return Text(text=f"Where do {2**power} steps from {start} lead?"), Table(columns=("from", "to"), rows=rows)

    def _item(self, prompt: str) -> Item:
        return Item(task=self.name(), prompt=prompt)


def _prompt(steps: Sequence[int], start: int, power: int) -> str:
    return f"2^{power} from {start} in {' '.join(map(str, steps))}"


def _parse(item: Item) -> tuple[list[int], int, int]:
    if match := _SHAPE.fullmatch(item.prompt):
        steps, start, power = [int(word) for word in match[3].split(" ")], int(match[2]), int(match[1])
        fitting = sorted(steps) == list(range(len(steps))) and start < len(steps) and power <= _HIGHEST_POWER
        if fitting and _prompt(steps, start, power) == item.prompt:
            return steps, start, power
    raise ComponentError(f"not a power, a start and a permutation: {item.prompt[:80]!r}")


def _walk(steps: Sequence[int], place: int, count: int) -> int:
    """Where `count` steps from `place` lead: once round the circle that it lies on, however many they are."""
    circle = [place]
    while len(circle) <= count and (following := steps[circle[-1]]) != place:
        circle.append(following)
    return circle[count % len(circle)]
