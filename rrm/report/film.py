"""What helpers said of single frames of a sequence, so that each word stands at the frame that it is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import ConfigDict

from rrm.blocks import Block, Frames
from rrm.picture import short
from rrm.records import Exhibit, Query, Record
from rrm.report.study import Run
from rrm.store import Store

WORDS, CAPTION, NOTES = 40, 60, 4
"""So many characters of a note and of a caption are shown, and so many notes at one frame."""


class Said(NamedTuple):
    """Something said of a sequence, or of what one frame of it shows."""

    who: str
    text: str
    prompt: str = ""
    """What was asked, where it was asked about one frame."""


class Notes(NamedTuple):
    """All that was said of what is shown."""

    said: Sequence[Said] = ()
    elsewhere: Callable[[], Mapping[str, Said]] = dict
    """By prompt, what helpers of the helpers said of the same when they were asked in the helpers' own training."""


NOTHING = Notes()


def said(exhibits: Iterable[Exhibit]) -> list[Said]:
    """What these say, and what of."""
    return [Said(e.agent or e.kind, e.text, e.query.item.prompt if e.query else "") for e in exhibits]


def asked(blocks: Iterable[Block]) -> set[str]:
    """The prompts about single frames."""
    return {prompt for b in blocks if isinstance(b, Frames) for prompt in b.asked if prompt}


def marks(frames: Frames, notes: Notes) -> Iterator[dict[str, Any]]:
    """Of each frame its caption and the notes at it, inert. What is said of most frames is quiet: the rest tells."""
    found = [list(_at(frames, i, notes)) for i in range(len(frames.frames))]
    usual = Counter(one.text for at in found for how, one in at if how != "points")
    quiet = {text for text, count in usual.items() if 2 * count > usual.total() and count > 1}
    for i, at in enumerate(found):
        yield {
            "caption": short(frames.captions[i], CAPTION) if i < len(frames.captions) else "",
            "points": any(how == "points" for how, _ in at),
            "notes": [
                {
                    "how": how,
                    "who": short(one.who, CAPTION),
                    "text": "" if how == "points" else short(one.text, WORDS),
                    "quiet": how != "points" and one.text in quiet,
                }
                for how, one in at[:NOTES]
            ],
        }


def _at(frames: Frames, i: int, notes: Notes) -> Iterator[tuple[str, Said]]:
    name = frames.names[i] if i < len(frames.names) else ""
    prompt = frames.asked[i] if i < len(frames.asked) else ""
    here = dict.fromkeys(one for one in notes.said if prompt and one.prompt == prompt)
    yield from (("said", one) for one in here)
    yield from (("points", one) for one in notes.said if name and one not in here and one.text.strip() == name)
    if prompt and not here and (one := notes.elsewhere().get(prompt)):
        yield "elsewhere", one


class _Answer(Record):
    """Of a recorded exhibit, what a note needs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: str
    agent: str = ""
    query: Query | None = None


class Heard:
    """What was said by the helpers of a node's helpers, read only if it is wanted, and once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, Said]] = {}

    def below(self, run: Run, node: str) -> Callable[[], Mapping[str, Said]]:
        """A reader of all of it, by prompt; of several answers to one prompt, the newest."""
        keys = [run.arm.nodes[h] for h in set(run.graph.helpers_of(node).values()) if h in run.arm.nodes]
        return cache(lambda: {prompt: one for key in keys for prompt, one in self._of(key).items()})

    def _of(self, key: str) -> dict[str, Said]:
        if key not in self._known:
            self._known[key] = found = {}
            for stream in self._store.streams(key):
                if "/answers/" in stream:
                    for one in self._store.read(key, stream, _Answer).values():
                        if one.query is not None:
                            found[one.query.item.prompt] = Said(one.agent, one.text)
        return self._known[key]
