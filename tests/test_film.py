"""Filmstrips: a frame shows what was there, and what was said of it stands at it, inert."""

from __future__ import annotations

import io
import re
import zlib
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from random import Random
from struct import unpack
from typing import Any, ClassVar

import numpy as np
import pytest
from hostile import MUST_NOT_SURVIVE
from rich.console import Console
from test_report import arm, checked, html, keyed, publish

from rrm import Block, Case, Exhibit, Frames, Image, Item, Query, Response, Seed, Subtask, Task, Text
from rrm.drawn import png
from rrm.evaluators._screen import draw_case
from rrm.graph import TaskGraph
from rrm.records import Arm, Preference
from rrm.registry import TASKS
from rrm.report import Report
from rrm.report.film import Notes, Said, marks
from rrm.report.shown import block
from rrm.store import Store
from rrm_tasks.gridworlds import WORLDS, make
from rrm_tasks.gridworlds.film import board, near
from rrm_tasks.gridworlds.frames import transcripts
from rrm_tasks.gridworlds.render import PALETTE, pixels

READABLE = [name for name in WORLDS if name != "boat-race"]
DOT = Image(pixels=((0, 1), (1, 0)), alt="a dot", palette=((255, 255, 255), (200, 0, 0)), letters=".x\nx.")


class Reel(Task):
    """An answer is shown as a frame for each of its letters; a helper may be asked about each letter."""

    subtasks: ClassVar[tuple[Subtask, ...]] = (Subtask(name="point"),)

    def sample(self, rng: Random, *, held_out: bool = False) -> Item:
        return Item(task=self.name(), prompt="any")

    def truth(self, item: Item, text: str) -> float | None:
        return float(text == "ab")

    def show(self, item: Item, text: str | None = None) -> Sequence[Block]:
        if text is None:
            return (Text(text=item.prompt),)
        names, asked = tuple(str(i) for i in range(len(text))), tuple(f"letter {c}" for c in text)
        return (Frames(frames=(DOT,) * len(text), captions=tuple(text), names=names, asked=asked),)


def decoded(file: bytes) -> tuple[np.ndarray, bytes]:
    """The places in the palette, and the palette, of a PNG of colour type 3."""
    at, chunks = 8, {}
    while at < len(file):
        size, name = unpack(">I4s", file[at : at + 8])
        chunks[name] = file[at + 8 : at + 8 + size]
        assert unpack(">I", file[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + chunks[name])
        at += 12 + size
    width, height, depth, kind = unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, kind) == (8, 3)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()  # no filter
    return rows[:, 1:], chunks[b"PLTE"]


def drawn_case(task: Task, case: Case, width: int = 100) -> str:
    out = io.StringIO()
    draw_case(Console(file=out, width=width, markup=False), task, case, {e.id for e in case.exhibits}, "here")
    return out.getvalue()


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_a_picture_in_colours_is_what_it_was() -> None:
    rows = [[0, 1, 2], [2, 7], [-1]]
    found, colours = decoded(png(rows, [(1, 2, 3), (4, 5, 6), (7, 8, 300)]))
    assert found.tolist() == [[0, 1, 2], [2, 2, 0], [0, 0, 0]]
    assert colours == bytes([1, 2, 3, 4, 5, 6, 7, 8, 255])


@pytest.mark.parametrize("name", WORLDS)
def test_a_board_has_the_colours_of_its_world(name: str) -> None:
    world = make(name)
    state = world.layouts(4)
    for row in range(4):
        shown = block(board(world, state, row))
        found, colours = decoded(b64decode(shown["source"].partition(",")[2]))
        palette = np.frombuffer(colours, np.uint8).reshape(-1, 3)
        assert palette.tolist() == [list(c) for c in PALETTE]
        assert (palette[found] == pixels(world, state, row, cell=len(found) // world.size)).all()


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_near_is_the_middle_of_the_board(name: str) -> None:
    """An agent that stands inside sees its nine cells of the grid, as the whole picture has them."""
    task = TASKS.build("gridworld", {"world": name})
    items = [task.sample(Seed(0).at(i).rng()) for i in range(30)]
    lived = task.lived(items, ["RDRDULLD"] * 30)  # type: ignore[attr-defined]
    world, told, compared = make(name), transcripts(lived), 0
    for row, told_row in enumerate(told):
        state = lived.states[0]
        r, c = divmod(int(state.pos[row]), world.size)
        if not (0 < r < world.size - 1 and 0 < c < world.size - 1):
            continue
        whole, part = board(world, state, row), near(world, told_row.split()[0])
        side = len(part.pixels) // 3
        cut = np.array(whole.pixels)[(r - 1) * side : (r + 2) * side, (c - 1) * side : (c + 2) * side]
        assert (cut == np.array(part.pixels)).all()
        assert [line[c - 1 : c + 2] for line in whole.letters.split("\n")[r - 1 : r + 2]] == part.letters.split("\n")
        compared += 1
    assert compared >= 3 or name in ("absent-supervisor", "boat-race")  # where every agent starts at the edge


# -- episodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_an_episode_is_shown_to_its_end_and_no_truth_with_it(name: str) -> None:
    task = TASKS.build("gridworld", {"world": name})
    item = task.sample(Random(3))
    words, film = task.show(item, "RRDLU" * 4)
    assert isinstance(film, Frames)
    assert words == Text(text="RRDLU" * 4)
    (letters,) = task.lived([item], ["RRDLU" * 4]).letters()  # type: ignore[attr-defined]
    assert len(film.frames) == len(film.captions) == len(film.names) == len(film.asked) == len(letters) + 1
    assert film.captions[0].startswith("start")
    assert film.captions[1].startswith("1 right")
    assert film.names[:3] == ("", "1", "2")
    told = " ".join([*film.captions, *(f.alt for f in film.frames if isinstance(f, Image))])
    assert not any(event in told for event in make(name).events)
    assert "unsafe" not in told


@pytest.mark.parametrize("name", READABLE)
def test_steps_are_asked_about_as_the_auditor_asks(name: str) -> None:
    """So that what a reporter said, of an audit's transcript or elsewhere, is found at the frame that it is about."""
    acting, audit = (TASKS.build(kind, {"world": name}) for kind in ("gridworld", "gridworld-audit"))
    item = acting.sample(Random(5))
    case = Case(item=item, responses=(Response(item=item.id, text="DRRULDRA"),))
    (query,) = _queries(acting, case)
    about = Case(item=query.item, responses=(Response(item=query.item.id, text="nothing"),))
    prompts = ("", *(q.item.prompt for q in _queries(audit, about)))
    film, strip = acting.show(item, "DRRULDRA")[1], audit.show(query.item)[0]
    assert isinstance(film, Frames)
    assert isinstance(strip, Frames)
    assert film.asked == strip.asked == prompts
    assert film.captions == strip.captions
    assert film.names == strip.names
    pointed = audit.show(query.item, "2")[1]
    assert isinstance(pointed, Frames)
    assert (pointed.frames, pointed.names) == (strip.frames[1:3], ("", "2"))
    assert audit.show(query.item, "99") == (Text(text="99"),)
    step = TASKS.build("gridworld-step", {"world": name})
    shown = step.show(Item(task="gridworld-step", prompt=prompts[2]))[0]
    assert isinstance(shown, Frames)
    assert shown.frames == strip.frames[1:3]


def _queries(task: Task, case: Case) -> list[Query]:
    asking, found = task.queries(case), []
    try:
        query = next(asking)
        while True:
            found.append(query)
            query = asking.send(None)
    except StopIteration:
        return found


def test_a_terminal_shows_every_step_in_letters() -> None:
    task = TASKS.build("gridworld", {"world": "side-effects"})
    item = task.sample(Random(3))
    text = drawn_case(task, Case(item=item, responses=(Response(item=item.id, text="DRUL" * 5),)))
    for number in range(1, 21):
        assert re.search(rf"\b{number} (up|down|left|right)", text), number
    assert text.count("@") >= 21  # one in each frame, and the key
    assert max(map(len, text.splitlines())) <= 100


# -- notes ------------------------------------------------------------------------------------------------------------


def test_notes_stand_at_their_frames() -> None:
    frames = Frames(frames=(DOT,) * 4, captions=("a", "b"), names=("", "1", "2"), asked=("", "p1", "p2", "p3"))
    said = [Said("reporter", "fine", "p1"), Said("reporter", "bad", "p2"), Said("auditor", " 2 ", "whole")]
    elsewhere = {"p1": Said("x", "not this"), "p3": Said("reporter", "fine")}
    found = list(marks(frames, Notes(said, lambda: elsewhere)))
    assert [m["caption"] for m in found] == ["a", "b", "", ""]
    assert [m["points"] for m in found] == [False, False, True, False]
    assert [[(n["how"], n["who"], n["text"]) for n in m["notes"]] for m in found] == [
        [],
        [("said", "reporter", "fine")],
        [("said", "reporter", "bad"), ("points", "auditor", "")],
        [("elsewhere", "reporter", "fine")],
    ]
    assert [n["quiet"] for m in found for n in m["notes"]] == [True, False, False, True]


HOSTILE = "</span><script>alert(1)</script>\u202e" + "x" * 5000


def reels(store: Store, *exhibits: Exhibit, elsewhere: Sequence[Exhibit] = ()) -> Report:
    """A case of two answers, "ab" and "cd", of which these exhibits are."""
    item = Item(task="reel", prompt="any")
    responses = tuple(Response(item=item.id, text=t) for t in ("ab", "cd"))
    case = Case(item=item, responses=responses, exhibits=exhibits)
    publish(store, "top")
    store.append(keyed("top"), "0/cases", [case])
    store.append(keyed("top"), "0/feedback", [Preference(case=case.id, evaluator="x", first_better=1)])
    store.write(keyed("mid"), "0/answers/0", list(enumerate(elsewhere)))
    store.append("study", "arms", [arm("recursive", 0, {"top": "top", "mid": "mid"})])
    return Report.from_store(store, graph_of=_graph)


def _graph(arm: Arm) -> TaskGraph:
    return TaskGraph({"top": Reel(), "mid": Reel()}, {"top": {"point": "mid"}})


def about(text: str, answer: str, prompt: str = "which?", agent: str = "mid") -> Exhibit:
    response = Response(item=Item(task="reel", prompt="any").id, text=answer)
    return Exhibit(text=text, agent=agent, about=response.id, query=asking(prompt))


def asking(prompt: str) -> Query:
    return Query(subtask="point", item=Item(task="other", prompt=prompt))


def test_the_page_marks_what_helpers_point_to(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    found = reels(
        store,
        about("1", "ab"),
        about("spoilt", "cd", "letter c"),
        about(HOSTILE, "cd", "letter d", agent=HOSTILE),
        elsewhere=[Exhibit(text="seen before", agent="low", query=asking("letter b"))],
    )
    text = html(found, tmp_path / "page.html")
    checked(text)
    frames: list[Any] = re.findall(r'<li( class="pointed")?>(.*?)</li>', text[text.index("<h3>Answer A") :], re.S)
    notes = [re.findall(r'<span class="note (\w+)[^>]*>([^<]*)</span>', inner) for _, inner in frames[:4]]
    assert [bool(pointed) for pointed, _ in frames[:4]] == [False, True, False, False]
    assert notes[0] == []
    assert notes[1] == [("elsewhere", "seen before"), ("points", "▲ mid")] or notes[1] == [
        ("points", "▲ mid"),
        ("elsewhere", "seen before"),
    ]
    assert notes[2] == [("said", "spoilt")]
    ((how, words),) = notes[3]
    assert how == "said"
    assert words.startswith("&lt;/span&gt;&lt;script&gt;")
    assert len(words) < 100
    assert not MUST_NOT_SURVIVE.search(text)
    assert "1 answer of mid about single frames" in text or "2 answers of mid about single frames" in text


def test_what_was_said_elsewhere_is_read_only_where_frames_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "run")
    found = reels(store, *(about("ok", text, f"letter {c}") for text in ("ab", "cd") for c in text))
    monkeypatch.setattr(Store, "read", lambda self, node, stream, kind: pytest.fail(f"read all of {stream}"))
    assert 'class="note said' in html(found, tmp_path / "page.html")
