"""Verdicts: what may be said of a case, and what several raters' verdicts come to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest  # type: ignore[import-untyped]

from rrm import Case, Item, Response
from rrm.desk.sheet import Sheet, ShownAnswer, ShownTerm
from rrm.desk.together import together
from rrm.desk.verdict import understood
from rrm.errors import Refused
from rrm.evaluators.people import People
from rrm.raters.opinions import opinions
from rrm.raters.weights import weights
from rrm.records import FEEDBACK, Feedback
from rrm.registry import TASKS

ITEM = Item(task="column-sum", prompt="Add up: 1 2 3 4")


def case_of(*texts: str, place: str = "0/0") -> Case:
    responses = tuple(Response(item=ITEM.id, text=t) for t in texts)
    return Case(item=ITEM, responses=responses, place=place)


def said(case: Case, *contents: dict[str, Any]) -> list[Feedback]:
    return [
        FEEDBACK.validate_python({"case": case.id, "evaluator": f"r{i}", "seconds": 1.5, "seen": (f"e{i}",), **content})
        for i, content in enumerate(contents)
    ]


def merged(*contents: dict[str, Any], texts: tuple[str, ...] = ("10", "11", "12")) -> dict[str, Any]:
    case = case_of(*texts)
    found = together(case, said(case, *contents))
    assert (found.case, found.evaluator, found.seconds) == (case.id, "people", 1.5 * len(contents))
    assert found.seen == tuple(f"e{i}" for i in range(len(contents)))
    return found.model_dump(exclude={"case", "evaluator", "seconds", "seen", "confidence", "work"})


def test_of_one_rater_it_is_what_they_said() -> None:
    case = case_of("10", "11")
    (only,) = said(case, {"kind": "preference", "first_better": 1})
    assert together(case, [only]) is only


def test_numbers_are_averaged_and_who_cannot_tell_has_no_voice() -> None:
    first, second = {"kind": "preference", "first_better": 1}, {"kind": "preference", "first_better": 0.5}
    unsure = {"kind": "abstention", "reason": "cannot tell"}
    assert merged(first, unsure, second) == {"kind": "preference", "first_better": 0.75}
    assert merged(unsure, unsure) == unsure
    scores = [{"kind": "rating", "score": s} for s in (0.25, 0.5)]
    assert merged(*scores, unsure) == {"kind": "rating", "response": 0, "score": 0.375}


def test_approvals_become_the_share_that_approve() -> None:
    votes = [{"kind": "approval", "approved": a} for a in (True, True, True, False)]
    assert merged(*votes) == {"kind": "rating", "response": 0, "score": 0.75}


def test_rankings_become_an_order_by_mean_place() -> None:
    best_second = {"kind": "ranking", "tiers": ((1,), (0, 2))}  # places 1.5, 0, 1.5
    in_order = {"kind": "ranking", "tiers": ((0,), (1,), (2,))}
    assert merged(best_second, in_order) == {"kind": "ranking", "tiers": ((1,), (0,), (2,))}
    opposite = {"kind": "ranking", "tiers": ((2,), (1,), (0,))}
    assert merged(in_order, opposite) == {"kind": "ranking", "tiers": ((0, 1, 2),)}


def test_steps_are_merged_each_for_itself() -> None:
    one, two = {"kind": "step-labels", "labels": (1, None, 0)}, {"kind": "step-labels", "labels": (0,)}
    assert merged(one, two)["labels"] == (0.5, None, 0)
    moves = [{"kind": "action-labels", "labels": m} for m in (("U", "", "R"), ("U",), ("D",))]
    assert merged(*moves)["labels"] == ("U", "", "R")
    values = [{"kind": "action-values", "values": (2.0,), "scale": 2.0}, {"kind": "action-values", "values": (3.0,)}]
    assert merged(*values) == {"kind": "action-values", "response": 0, "values": (2.0,), "scale": 1.0}


def test_of_texts_the_one_that_most_gave_and_of_kinds_the_commonest() -> None:
    texts = [{"kind": "demonstration", "text": t} for t in ("9", "10", "10")]
    assert merged(*texts, {"kind": "rating", "score": 1}) == {"kind": "demonstration", "text": "10"}


def test_a_model_of_the_raters_says_what_each_counts() -> None:
    case = case_of("10", "11")
    both = said(case, {"kind": "preference", "first_better": 1}, {"kind": "preference", "first_better": 0})
    assert together(case, both, lambda f: 3.0 if f.evaluator == "r0" else 1.0).first_better == 0.75
    assert together(case, both, lambda f: 0.0).first_better == 0.5, "with no weight left, all count the same"


# -- weights ----------------------------------------------------------------------------------------------------------


def crowd(seed: int, skills: dict[str, float], cases: int = 60) -> tuple[list[bool], list[tuple[str, int, Feedback]]]:
    """What simulated raters say of comparisons of which the truth is drawn: who is right how often."""
    rng = np.random.default_rng(seed)
    truth = [bool(t) for t in rng.integers(0, 2, cases)]
    voices = []
    for number, first in enumerate(truth):
        for name, skill in skills.items():
            p = float(first if rng.random() < skill else not first)
            told = {"case": f"{number:016x}", "evaluator": name, "kind": "preference", "first_better": p}
            voices.append((name, number, FEEDBACK.validate_python(told)))
    return truth, voices


def right(truth: list[bool], voices: list[tuple[str, int, Feedback]], weigh: Any = lambda feedback: 1.0) -> int:
    """In how many cases they come to the truth together."""
    case, total = case_of("1", "0"), 0
    for number, first in enumerate(truth):
        found = together(case, [f for _, n, f in voices if n == number], weigh)
        total += found.first_better != 0.5 and (found.first_better > 0.5) == first  # type: ignore[union-attr]
    return total


BAD = {"ann": 0.9, "bob": 0.9, "rude": 0.5, "lazy": 0.5, "odd": 0.5}


def test_weights_beat_the_majority_where_raters_are_bad() -> None:
    """Two who look and three who guess: paired over 20 simulated groups, by the sign test."""
    better = worse = 0
    for seed in range(20):
        truth, voices = crowd(seed, BAD)
        found = weights(voices)
        assert min(found["ann"], found["bob"]) > max(found["rude"], found["lazy"], found["odd"])
        weighed, equal = right(truth, voices, lambda f, w=found: w[f.evaluator]), right(truth, voices)
        better, worse = better + (weighed > equal), worse + (weighed < equal)
    assert binomtest(better, better + worse).pvalue < 0.001, (better, worse)


def test_one_who_turns_everything_round_is_not_heard() -> None:
    truth, voices = crowd(0, {"ann": 0.85, "bob": 0.85, "cat": 0.85, "foe": 0.05})
    found = weights(voices)
    assert found["foe"] == 0
    assert right(truth, voices, lambda f: found[f.evaluator]) > right(truth, voices)


def test_weights_do_not_depend_on_the_order_and_know_every_kind() -> None:
    _, voices = crowd(1, BAD)
    assert weights(voices) == weights(voices[::-1])
    assert weights([]) == {}
    rankings = [("a", 0, "ranking", {"tiers": ((1,), (0,), (2,))}), ("b", 0, "ranking", {"tiers": ((2,), (0,), (1,))})]
    for kind, opinion in (
        ("ranking", {"tiers": ((1,), (0, 2))}),
        ("approval", {"approved": True}),
        ("rating", {"score": 0.75}),
        ("step-labels", {"labels": (1, None, 0)}),
        ("action-values", {"values": (2.0, -1.0)}),
    ):
        told = FEEDBACK.validate_python({"case": "", "evaluator": "a", "kind": kind, **opinion})
        assert opinions(told)
        assert weights([("a", 0, told), ("b", 0, told)]).keys() == {"a", "b"}
    one, two = (FEEDBACK.validate_python({"case": "", "evaluator": n, "kind": k, **c}) for n, _, k, c in rankings)
    assert opinions(one) == {"0>1": 0.0, "0>2": 1.0, "1>2": 1.0}
    assert opinions(two) == {"0>1": 1.0, "0>2": 0.0, "1>2": 0.0}
    shrug = FEEDBACK.validate_python({"case": "", "evaluator": "a", "kind": "abstention", "reason": "?"})
    assert weights([("a", 0, shrug)]) == {}


# -- what may be said -------------------------------------------------------------------------------------------------

KINDS = (
    "preference", "ranking", "rating", "approval", "demonstration", "correction", "step-labels", "action-labels",
    "action-values", "advantages", "mask", "term", "advice",
)  # fmt: skip


def laid(answers: int, **given: Any) -> Sheet:
    shown = tuple(
        ShownAnswer(name="ABC"[i], blocks=(), text=f"so {i}", words=() if given.get("steps") else ("so", str(i)))
        for i in range(answers)
    )
    terms = (ShownTerm(use="pattern", weight=1.0, settings={"pattern": ".*"}),)
    given = {"terms": terms, **given}
    return Sheet(case="0" * 16, place="0/0", node="n", level=0, item=(), answers=shown, kinds=KINDS, **given)


def understand(sheet: Sheet, **posted: Any) -> Feedback:
    return understood(sheet, posted, rater="ann", seconds=2.0, seen=("e",))


def test_what_the_desk_knows_nobody_says_of_themselves() -> None:
    found = understand(
        laid(2), kind="preference", first_better=1, evaluator="bob", seconds=99, seen=("x",), case="y", work=5
    )
    assert (found.evaluator, found.seconds, found.seen, found.case, found.work) == ("ann", 2.0, ("e",), "0" * 16, None)


@pytest.mark.parametrize(
    ("answers", "posted", "why"),
    [
        (3, {"kind": "preference", "first_better": 1}, "there are not two answers"),
        (2, {"kind": "ranking", "tiers": [[0], [2]]}, "answers are 0 to 1"),
        (2, {"kind": "ranking", "tiers": [[0], []]}, "each holds at least one answer"),
        (2, {"kind": "rating", "score": 1, "response": 2}, "answers are 0 to 1"),
        (1, {"kind": "correction", "text": "so 0"}, "this is the answer as it was"),
        (1, {"kind": "correction", "text": "x", "response": 3}, "answers are 0 to 0"),
        (1, {"kind": "demonstration", "text": " \n"}, "it is empty"),
        (1, {"kind": "advice", "text": "x" * 20_001}, "at most 20000 characters"),
        (1, {"kind": "advice", "text": "a\0b"}, "a character that no text may hold"),
        (1, {"kind": "advice", "text": "a\ud800b"}, "text"),
        (1, {"kind": "step-labels", "labels": [None]}, "no opinion on any step"),
        (1, {"kind": "step-labels", "labels": [None, 1]}, "steps that can be judged here are [0, 2]"),
        (2, {"kind": "step-labels", "labels": [1]}, "steps are judged of the only answer"),
        (1, {"kind": "action-labels", "labels": ["X"]}, "each is one of U R, or empty"),
        (1, {"kind": "action-values", "values": [float("nan")]}, "values"),
        (1, {"kind": "mask", "marks": [True]}, "of: steps are marked here"),
        (1, {"kind": "mask", "of": "steps", "marks": [False, None]}, "mark at least one"),
        (1, {"kind": "mask", "of": "steps", "marks": [None, True]}, "steps that can be judged here are [0, 2]"),
        (1, {"kind": "term", "term": 1, "use": "pattern", "weight": 1}, "they are 0 to 0"),
        (1, {"kind": "term", "term": 0, "use": "length", "weight": 1}, "this one is 'pattern'"),
        (1, {"kind": "term", "term": 0, "use": "pattern", "weight": 2e6}, "a number from -1000000 to 1000000"),
        (1, {"kind": "term", "term": 0, "use": "pattern", "weight": 1}, "nothing of it is changed"),
        (
            1,
            {"kind": "term", "term": 0, "use": "pattern", "weight": 2, "settings": {"x": "1"}},
            "pattern can be edited",
        ),
    ],
)
def test_what_was_not_shown_cannot_be_spoken_of(answers: int, posted: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused) as told:
        understand(laid(answers, moves=("U", "R"), steps=(0, 2), taken=("U", "R")), **posted)
    assert why in str(told.value)


@pytest.mark.parametrize(
    ("posted", "why"),
    [
        ({"marks": [True, False], "response": 2}, "answers are 0 to 1"),
        ({"marks": [True, False, False]}, "this answer has 2 words"),
        ({"marks": [True], "of": "steps"}, "words are marked here"),
    ],
)
def test_words_are_marked_of_what_has_words(posted: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        understand(laid(2), kind="mask", **posted)


def test_masks_and_edits_are_merged() -> None:
    masks = [{"kind": "mask", "marks": m, "good": g} for m, g in (((1, 0, 0), 1), ((1, 1, 0), None), ((0, 0), 0))]
    assert merged(*masks) == {"kind": "mask", "response": 0, "of": "words", "marks": (1, 0, 0), "good": 0.5}
    edits = [
        {"kind": "term", "term": t, "use": "pattern", "weight": w, "settings": s}
        for t, w, s in ((0, 1.0, {"pattern": "a"}), (0, 2.0, {}), (1, 9.0, {}))
    ]
    expected = {"kind": "term", "term": 0, "use": "pattern", "weight": 1.5, "settings": {"pattern": "a"}}
    assert merged(*edits) == expected


def test_at_gates_answers_are_compared_whatever_the_plan_asks_for() -> None:
    task = TASKS.build("column-sum", {"length": 4})
    people = People(People.Settings(kinds=("demonstration", "step-labels")))
    assert people._kinds(task, case_of("10", "11")) == ["demonstration"], "it has no steps"
    assert people._kinds(task, case_of("10", "11", place="gate-0/3")) == ["preference"]
    assert people._kinds(task, case_of("10", "11", "12", place="spot-2/half/3")) == ["ranking"]
    assert People()._kinds(task, case_of("10")) == ["rating"]
