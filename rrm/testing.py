"""The contract of each role, as checks that a plug-in runs on its own component: `check_task(MyTask())`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from pydantic import TypeAdapter, ValidationError

from rrm.asking import Helper, Helpers, ask_all, drive
from rrm.blocks import Block
from rrm.records import FEEDBACK, Case, Exhibit, Feedback, Item, Preference, Query, Ranking, Response
from rrm.roles import Asking, Assistant, Component, Evaluator, OversightProtocol, Task, Wrapper
from rrm.seed import Seed

HOSTILE = ("", " ", "\x00\x1b[2J", "-1", "٣", "nan", "1e999", "9" * 5000, "x" * 20_000, "<script>", "{}", "0\n0")
"""What an agent may say, and every component must bear."""

_MOST_QUERIES = 10_000
_CLOSELY = 3
"""On how many items everything hostile is tried: it is slow, and more of them find nothing more."""
_BLOCK: TypeAdapter[Block] = TypeAdapter(Block)


def check_task(task: Task, *, draws: int = 20) -> None:
    """Hold `task` to the contract of `rrm.Task`, on `draws` items of each split.

    Raises AssertionError saying what to mend. It does not judge whether the decomposition is any good.
    """
    _check_settings(task)
    training, held_out = check_splits(task, draws=draws)
    same = type(task)(task.settings).sample(Seed(0).at(0).rng()) == training[0]
    _must(same, "two tasks with equal settings draw different items: keep nothing outside the settings")
    _check_listed(task, training, held_out)
    asked = [_check_queries(task, item) for item in training]
    _check_vocabulary(task, [*training, *held_out, *(query.item for queries in asked for query in queries)])
    for number, (item, queries) in enumerate(zip(training, asked, strict=True)):
        answers = _check_answers(task, item, training[0])
        _check_truth(task, item, answers)
        if number < _CLOSELY:
            _check_estimate(task, item, [*(answers or ["0", "1"])[:10], *HOSTILE], queries)
            _check_show(task, item, answers)


def check_splits(task: Task, *, draws: int = 20) -> tuple[list[Item], list[Item]]:
    """What `task` draws for training and held out, which should have nothing in common. Part of `check_task`.

    Raises AssertionError saying what to mend. A task that lists its items may share them: reports say so.
    """
    training, held_out = (_drawn(task, draws, held_out=h) for h in (False, True))
    if task.items() is None:
        both = sorted({item.prompt for item in training} & {item.prompt for item in held_out})
        such = ", ".join(repr(prompt[:60]) for prompt in both[:3])
        _must(
            not both,
            f"sample draws the same items for training and held out, such as {such}: "
            "keep the splits apart, as `held_out` says, or list the items of both in `items` where there are few",
        )
    return training, held_out


def check_assistant(assistant: Assistant, task: Task, *, items: int = 6) -> None:
    """Hold `assistant` to the contract of `rrm.Assistant`, on `items` items of `task`.

    It is prepared first, so give it as a plan would build it; a wrapper that stands before nobody is put around one
    that guesses. Raises AssertionError saying what to mend. It does not judge whether the answers are any good.
    """
    _check_settings(assistant)
    if isinstance(assistant, Wrapper) and "inner" not in vars(assistant):
        assistant = assistant.around(_Guesser(task), task)
    ready = assistant.prepare(task, seed=Seed(0))
    drawn = [task.sample(Seed(1).at(i).rng()) for i in range(items)]
    _check_answering(ready, drawn, "respond", ready.respond)
    _check_answering(ready, drawn, "propose", ready.propose)
    if ready.deterministic:
        one, other = (ready.respond(drawn, n=2, seeds=_seeds(items, salt)) for salt in ("one", "other"))
        same = one == other and all(first == second for first, second in one)
        _must(same, "deterministic is True, and yet an answer depends on the seed, or on which of the n it is")
    again = assistant.prepare(task, seed=Seed(0)).respond(drawn, n=2, seeds=_seeds(items))
    _must(again == ready.respond(drawn, n=2, seeds=_seeds(items)), "prepare with the same seed makes another assistant")
    _check_saving(ready, assistant.prepare(task, seed=Seed(0)), drawn)


def check_evaluator(evaluator: Evaluator, task: Task, *, cases: int = 6) -> None:
    """Hold `evaluator` to the contract of `rrm.Evaluator`, on `cases` cases of each size from one answer to four.

    One that asks a person needs its input scripted. Raises AssertionError saying what to mend. It does not judge
    whether the verdicts are any good.
    """
    _check_settings(evaluator)
    given = [_judgeable(task, number, size) for size in (2, 1, 4) for number in range(cases)]
    cheat = AssertionError("judge calls Task.truth: only the evaluator `oracle` may (asks_truth)")
    may = nullcontext() if evaluator.asks_truth else patch.object(task, "truth", side_effect=cheat)
    with may:
        _must(list(evaluator.judge(task, [], seed=Seed(0))) == [], "judge speaks though it was given no cases")
        said = list(evaluator.judge(task, given, seed=Seed(0)))
        _check_feedback(said, given)
        if not evaluator.reproducible:
            return
        told = {f.case: f for f in said}
        _must(told == _said(evaluator, task, given, 0), "reproducible is True, and judging again says something else")
        half = len(given) // 2
        parts = {**_said(evaluator, task, given[:half], 0), **_said(evaluator, task, given[half:], half)}
        _must(
            told == parts, "a round that is interrupted and gone on with (done=…) says something else than one sitting"
        )


def check_protocol(protocol: OversightProtocol, task: Task, *, cases: int = 6) -> None:
    """Hold `protocol` to the contract of `rrm.OversightProtocol`, on `cases` cases of `task`.

    Helpers are tried that say nothing, something hostile, or are missing. Raises AssertionError saying what to mend.
    """
    _check_settings(protocol)
    for number in range(cases):
        for size in (2, 1):
            case = _case(task.sample(Seed(2).at(number).rng()), _texts(task, number, size))
            before = case.model_dump_json()
            for help_ in (None, *HOSTILE) if number < _CLOSELY else (None, "0"):
                ids = {"", *(r.id for r in case.responses)}
                asked, again = (list(_driven("assist", protocol.assist(task, case), help_)) for _ in range(2))
                _must(asked == again, "assist asks something else the second time")
                for query in asked:
                    about = f"assist asks about {query.about!r}, which is not the id of a response (or empty)"
                    _must(query.about in ids, about)
                    same = Query.model_validate_json(query.model_dump_json()) == query
                    _must(same, f"assist asks {query.item.prompt[:80]!r}, which JSON changes")
            _must(case.model_dump_json() == before, "assist changes the case that it is given")


def _must(holds: bool, mend: str) -> None:
    if not holds:
        raise AssertionError(mend)


def _check_settings(component: Component) -> None:
    settings = component.settings
    again = type(settings).model_validate_json(settings.model_dump_json())
    _must(again == settings, f"settings are not the same after JSON: {settings!r} became {again!r}")
    try:
        type(settings).model_validate({**settings.model_dump(), "no_such_setting": 1})
    except ValidationError:
        pass
    else:
        raise AssertionError('Settings takes keys that it does not know: it should keep `extra="forbid"`')


def _drawn(task: Task, draws: int, *, held_out: bool) -> list[Item]:
    seeds = [Seed(0).at(i) for i in range(draws)]
    one = [task.sample(seed.rng(), held_out=held_out) for seed in seeds]
    other = [task.sample(seed.rng(), held_out=held_out) for seed in reversed(seeds)]
    _must(one == other[::-1], "sample draws from something else than `rng`, or keeps something between calls")
    for item in one:
        _must(isinstance(item, Item), f"sample returns {type(item).__name__}, which is not an Item")
        _must(Item.model_validate_json(item.model_dump_json()) == item, f"an item is another after JSON: {item!r}")
        _must(task.accepts(item), f"accepts refuses an item that sample drew: {item.prompt[:80]!r}")
    return one


def _check_listed(task: Task, training: Sequence[Item], held_out: Sequence[Item]) -> None:
    listed = task.items(), task.items(held_out=True)
    _must((listed[0] is None) == (listed[1] is None), "items lists one split and not the other: list both or neither")
    for name, items, drawn in zip(("training", "held-out"), listed, (training, held_out), strict=True):
        if items is not None:
            prompts = {item.prompt for item in items}
            _must(len(prompts) == len(items) > 0, f"items lists no {name} item, or one of them twice")
            _must({i.prompt for i in drawn} <= prompts, f"sample drew a {name} item that items does not list")
            _must(all(map(task.accepts, items)), f"accepts refuses a {name} item that items lists")


def _check_queries(task: Task, item: Item) -> list[Query]:
    """What is asked while helpers answer "0", once help of every other kind has been borne."""
    case = _case(item, ["0", "1"])
    right = (task.answers(item) or ["0"])[-1]
    asked: list[Query] = []
    for help_ in (None, *HOSTILE, right, "0"):
        asked = _asked(task, case, help_)
        _must(asked == _asked(task, case, help_), "queries asks other questions of the same case and answers")
    kinds = {subtask.name: subtask.task for subtask in task.subtasks}
    _must(len(kinds) == len(task.subtasks), "two subtasks share a name")
    return asked


def _asked(task: Task, case: Case, text: str | None) -> list[Query]:
    kinds, ids = {s.name: s.task for s in task.subtasks}, {"", *(r.id for r in case.responses)}
    asked = []
    for query in _driven("queries", task.queries(case), text):
        asked.append(query)
        where = f"queries asked {query.item.prompt[:80]!r}"
        _must(query.subtask in kinds, f"{where} of {query.subtask!r}; subtasks declares {sorted(kinds)}")
        wanted = kinds[query.subtask]
        _must(query.item.task == wanted or not wanted, f"{where} as an item of {query.item.task!r}, not {wanted!r}")
        _must(query.item != case.item, f"{where}, which is the case's own item: judging it would go in circles")
        _must(query.about in ids, f"{where} about {query.about!r}, which is not the id of a response (or empty)")
        _must(Query.model_validate_json(query.model_dump_json()) == query, f"{where}, which JSON changes")
    return asked


def _driven(name: str, asking: Asking, text: str | None) -> Iterator[Query]:
    """What is asked while helpers say `text`, or are missing (None)."""

    def reply(query: Query) -> Exhibit | None:
        return None if text is None else Exhibit(text=text, agent="helper", about=query.about, query=query)

    for number, query in enumerate(drive(asking, reply)):
        _must(number < _MOST_QUERIES, f"{name} does not come to an end when helpers say {text!r}")
        yield query


def _check_vocabulary(task: Task, items: Sequence[Item]) -> None:
    vocabulary = task.vocabulary()
    if vocabulary is not None:
        known = set(vocabulary)
        _must(len(known) == len(vocabulary), "vocabulary names a word twice")
        # a question to another family is made of that family's words
        unknown = {word for item in items if item.task == task.name() for word in item.prompt.split(" ")} - known
        _must(not unknown, f"vocabulary lacks words of prompts: {sorted(unknown)[:5]}")


def _check_answers(task: Task, item: Item, first: Item) -> list[str] | None:
    answers = task.answers(item)
    if answers is None:
        return None
    _must(len(set(answers)) == len(answers) > 1, "answers should name two or more different answers")
    _must(list(answers) == list(task.answers(first) or ()), "answers differ between items of one task")
    return list(answers)


def _check_truth(task: Task, item: Item, answers: Sequence[str] | None) -> None:
    for text in (*(answers or ()), *HOSTILE):
        value = task.truth(item, text)
        bounded = value is None or (math.isfinite(value) and (value <= 1 or task.measure == "mean"))
        _must(bounded, f"truth of {text[:40]!r} is {value}: it should be finite, and an accuracy never above 1")
        _must(value == task.truth(item, text), f"truth of {text[:40]!r} is not the same twice")
    if answers and task.truth(item, answers[0]) is not None:
        right = [text for text in answers if task.truth(item, text) == 1]
        wanted = "some, not for all" if task.several_right else "exactly one (or say `several_right = True`)"
        fits = 0 < len(right) < len(answers) if task.several_right else len(right) == 1
        _must(
            fits or task.measure != "accuracy",
            f"truth is 1 for {right} of the answers to {item.prompt[:80]!r}; it should be for {wanted}",
        )


def _check_estimate(task: Task, item: Item, texts: Sequence[str], queries: Sequence[Query]) -> None:
    cases = [_case(item, texts), _case(item, texts[:1])]
    for help_ in (*HOSTILE, texts[0]):
        exhibits = [Exhibit(text=help_, agent="helper", query=query) for query in queries]
        cases.append(_case(item, texts, exhibits))
        cases.append(_case(item, texts, exhibits[:1]))
    cases.append(_case(item, texts, [Exhibit(text=t, kind=kind) for t in HOSTILE for kind in ("answer", "critique")]))
    cheat = AssertionError("estimate calls truth: it has to work as a person would")
    with patch.object(task, "truth", side_effect=cheat):
        for case in cases:
            for budget in (0, 1, 4, 1000):
                _check_marks(task, case, budget)


def _check_marks(task: Task, case: Case, budget: int) -> None:
    marks = task.estimate(case, budget=budget)
    if marks is None:
        return
    _must(len(marks) == len(case.responses), f"estimate gives {len(marks)} marks to {len(case.responses)} responses")
    _must(all(map(math.isfinite, marks)), f"estimate gives marks that are not finite: {marks}; None says: cannot tell")
    turned = case.model_copy(update={"responses": case.responses[::-1]})
    same = list(task.estimate(turned, budget=budget) or ()) == list(marks)[::-1]
    _must(same, "estimate is not the same twice, or depends on the order in which the responses stand")


def _check_show(task: Task, item: Item, answers: Sequence[str] | None) -> None:
    _must(bool(task.show(item)), "show shows nothing of an item")
    for text in (None, *(answers or ())[:2], *HOSTILE):
        for block in task.show(item, text):
            try:
                again = _BLOCK.validate_json(block.model_dump_json())
            except (AttributeError, ValidationError) as error:
                raise AssertionError(f"show gives something that is no block: {block!r} ({error})") from None
            _must(again == block, f"a block is another after JSON: {block!r}")


def _case(item: Item, texts: Sequence[str], exhibits: Sequence[Exhibit] = ()) -> Case:
    responses = tuple(Response(item=item.id, text=text, agent="agent", sample=i) for i, text in enumerate(texts))
    return Case(item=item, responses=responses, exhibits=tuple(exhibits))


# -- assistants -------------------------------------------------------------------------------------------------------


class _Guesser(Assistant):
    """Any answer of the task's answer set, or any digit."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task

    def respond(self, items: Sequence[Item], *, n: int = 1, seeds: Sequence[Seed]) -> list[list[str]]:
        sets = [list(self._task.answers(item) or "0123456789") for item in items]
        return [[s.at(i).rng().choice(texts) for i in range(n)] for texts, s in zip(sets, seeds, strict=True)]


def _seeds(count: int, salt: str = "") -> list[Seed]:
    return [Seed(3).at(salt, i) for i in range(count)]


def _check_answering(
    assistant: Assistant, items: Sequence[Item], name: str, answer: Callable[..., list[list[str]]]
) -> None:
    seeds = _seeds(len(items))
    _must(answer([], n=1, seeds=[]) == [], f"{name} of no items should be an empty list")
    for n in (1, 3):
        rows = answer(items, n=n, seeds=seeds)
        shaped = len(rows) == len(items) and all(len(row) == n for row in rows)
        _must(shaped, f"{name} should give {n} answers to each of {len(items)} items, in their order")
        _must(all(type(text) is str for row in rows for text in row), f"{name} should give texts, nothing else")
        _must(rows == answer(items, n=n, seeds=seeds), f"{name} says something else to the same seeds")
        turned = answer(items[::-1], n=n, seeds=seeds[::-1])[::-1]
        _must(
            rows == turned, f"{name}: the answers to items[i] depend on the order of the batch, not on seeds[i] alone"
        )
        alone = [answer([item], n=n, seeds=[seed])[0] for item, seed in zip(items, seeds, strict=True)]
        _must(rows == alone, f"{name}: the answers to items[i] depend on what else is in the batch, or on calls before")


def _check_saving(ready: Assistant, blank: Assistant, items: Sequence[Item]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ready.save(folder)
        pickled = [p.name for p in folder.rglob("*") if p.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin"}]
        _must(
            not pickled, f"save writes {pickled}: write safetensors and JSON, since a pickle runs code when it is read"
        )
        loaded = blank.load(folder)
    seeds = _seeds(len(items))
    same = loaded.respond(items, n=2, seeds=seeds) == ready.respond(items, n=2, seeds=seeds)
    _must(same, "what load makes of what save wrote answers differently")
    _must(loaded.deterministic == ready.deterministic, "deterministic is not the same after save and load")


# -- evaluators -------------------------------------------------------------------------------------------------------


def _texts(task: Task, number: int, size: int) -> list[str]:
    item, rng = task.sample(Seed(2).at(number).rng()), Seed(2).at(number, "answers", size).rng()
    return rng.sample([*(task.answers(item) or map(str, range(20))), *HOSTILE[:4]], size)


def _judgeable(task: Task, number: int, size: int) -> Case:
    """A case with help: every question that the task raises, answered by guessing."""
    case = _case(task.sample(Seed(2).at(number).rng()), _texts(task, number, size))
    helper = Helper("helper", _Guesser(task), "What?")
    helpers = Helpers({s.name: helper for s in task.subtasks}, seed=Seed(2).at(number))
    (exhibits,) = ask_all([task.queries(case)], helpers)
    return Case(item=case.item, responses=case.responses, exhibits=exhibits)


def _said(evaluator: Evaluator, task: Task, cases: Sequence[Case], done: int) -> dict[str, Feedback]:
    return {f.case: f for f in evaluator.judge(task, cases, seed=Seed(0), done=done)}


def _check_feedback(said: Iterable[Feedback], cases: Sequence[Case]) -> None:
    by_id, heard = {case.id: case for case in cases}, set()
    for feedback in said:
        about = f"judge said {feedback!r}"
        case = by_id.get(feedback.case)
        if case is None:
            raise AssertionError(f"{about}, of a case that it was not given: `case` is the case's id")
        _must(feedback.case not in heard, f"{about}, though it had judged that case before")
        heard.add(feedback.case)
        _must(FEEDBACK.validate_json(feedback.model_dump_json()) == feedback, f"{about}, which JSON changes")
        _must(feedback.evaluator != "", f"{about}, and does not say who judged: fill in `evaluator`")
        _must(set(feedback.seen) <= {e.id for e in case.exhibits}, f"{about}: `seen` names exhibits that are not there")
        count = len(case.responses)
        if isinstance(feedback, Preference):
            _must(count == 2, f"{about}, a preference, of {count} answers")
        elif isinstance(feedback, Ranking):
            _must(max(map(max, filter(None, feedback.tiers))) < count, f"{about}, of a case with {count} answers")
        else:
            _must(getattr(feedback, "response", 0) < count, f"{about}, of a case with {count} answers")
