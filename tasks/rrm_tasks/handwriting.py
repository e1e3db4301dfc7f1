"""Add up handwritten digits: judged by having the two halves of the row added up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from pydantic import Field

from rrm import Asking, Block, Case, ComponentError, Image, Item, Query, Subtask, Task, Text
from rrm_tasks._reading import nearness, number, told

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

_IMAGES, _HELD_OUT, _INK = 1797, 500, 16


class Handwriting(Task):
    """Real pictures in, a sum out: "17 204" asks for the sum of the digits on images 17 and 204.

    Images are numbered as in scikit-learn's `load_digits` (8 x 8 pixels; the test set of Alpaydin and Kaynak 1998,
    UCI Optical Recognition of Handwritten Digits). 500 of them are held out and stand in no training item.
    `budget` is how many images the person reads for one judgement; adding two numbers costs as much as reading one
    image. An image that nobody read counts 4.5, the mean of a digit.
    """

    class Settings(Task.Settings):
        """How many images stand in a row."""

        level: int = Field(default=0, ge=0, le=6)
        """How often one image is doubled."""

    settings: Settings
    subtasks = (
        Subtask(name="first", task="handwriting", question="What does the first half add up to?"),
        Subtask(name="second", task="handwriting", question="What does the second half add up to?"),
    )

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return self._item([str(image) for image in rng.choices(split(held_out=held_out), k=self._length)])

    def items(self, *, held_out: bool = False) -> Sequence[Item] | None:
        return None if self.settings.level else [self._item([str(image)]) for image in split(held_out=held_out)]

    def queries(self, case: Case) -> Asking:
        for slot, half in self._halves(case.item).items():
            yield Query(subtask=slot, item=self._item(half))

    def answers(self, item: Item) -> Sequence[str]:
        return [str(total) for total in range(9 * self._length + 1)]

    def vocabulary(self) -> Sequence[str]:
        return [str(image) for image in range(_IMAGES)]

    def accepts(self, item: Item) -> bool:
        try:
            return len(_images(item)) == self._length
        except ComponentError:
            return False

    def estimate(self, case: Case, *, budget: int) -> Sequence[float] | None:
        if budget < 1:
            return None
        images, halves = _images(case.item), self._halves(case.item)
        sums = {slot: told(case, slot, " ".join(half), most=9 * len(half)) for slot, half in halves.items()}
        known = [total for total in sums.values() if total is not None]
        unread = [int(image) for slot, half in halves.items() if sums[slot] is None for image in half]
        if not known:
            unread = images
        read = [digits()[image] for image in unread[: budget - 1 if known else budget]]
        belief = sum(known) + sum(read) + (9 * (len(unread) - len(read)) + 1) // 2
        return [1 + nearness(response.text, belief) for response in case.responses]

    def truth(self, item: Item, text: str) -> float:
        return 1 + nearness(text, sum(digits()[image] for image in _images(item)))

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is not None:
            return (Text(text=text),)
        images = _images(item)
        question = "What do these digits add up to?" if len(images) > 1 else "Which digit is this?"
        return Text(text=question), *map(_picture, images)

    @property
    def _length(self) -> int:
        return 1 << self.settings.level

    def _item(self, images: Sequence[str]) -> Item:
        return Item(task=self.name(), prompt=" ".join(images))

    def _halves(self, item: Item) -> dict[str, list[str]]:
        """The images of each half, by the subtask that adds them up; none where there is only one."""
        images = [str(image) for image in _images(item)]
        middle = len(images) // 2
        return {"first": images[:middle], "second": images[middle:]} if middle else {}


@lru_cache(maxsize=2)
def split(*, held_out: bool) -> tuple[int, ...]:
    """The numbers of the images of one split."""
    images = list(range(_IMAGES))
    Random(7).shuffle(images)
    return tuple(images[:_HELD_OUT] if held_out else images[_HELD_OUT:])


@lru_cache(maxsize=1)
def pixels() -> NDArray[float64]:
    """All images, a row of 64 brightnesses each, from 0 (paper) to 1 (ink): shape (1797, 64)."""
    from sklearn.datasets import load_digits

    found: NDArray[float64] = load_digits().data / _INK
    found.setflags(write=False)
    return found


@lru_cache(maxsize=1)
def digits() -> tuple[int, ...]:
    """What each image shows: the person can read, and so can the truth. No agent is told."""
    from sklearn.datasets import load_digits

    return tuple(map(int, load_digits().target))


def _images(item: Item) -> list[int]:
    images = [n for n in map(number, item.prompt.split(" ")) if n is not None and 0 <= n < _IMAGES]
    if not images or len(images) & (len(images) - 1) or " ".join(map(str, images)) != item.prompt:
        raise ComponentError(f"not the numbers of 1, 2, 4, 8… images from 0 to {_IMAGES - 1}: {item.prompt[:80]!r}")
    return images


def _picture(image: int) -> Image:
    rows = pixels()[image].reshape(8, 8).tolist()
    return Image(pixels=tuple(tuple(round(255 * v) for v in row) for row in rows), alt=f"a handwritten digit ({image})")
