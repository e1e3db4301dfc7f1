from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rrm import records
from rrm.blocks import Code, Frames, Image, Table, Text
from rrm.records import (
    FEEDBACK,
    ActionLabels,
    ActionValues,
    Advantages,
    Case,
    Item,
    Preference,
    Ranking,
    Record,
    Response,
    StepLabels,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
UNIT = st.floats(0, 1)
ITEM = st.builds(Item, task=TEXT, prompt=TEXT)
RESPONSE = st.builds(Response, item=TEXT, text=TEXT, agent=TEXT, sample=st.integers(0, 9))
QUERY = st.builds(records.Query, subtask=TEXT, item=ITEM, about=TEXT)
EXHIBIT = st.builds(
    records.Exhibit,
    kind=TEXT,
    title=TEXT,
    text=TEXT,
    agent=TEXT,
    about=TEXT,
    confidence=st.none() | UNIT,
    query=st.none() | QUERY,
)
CASE = st.builds(
    Case,
    item=ITEM,
    responses=st.lists(RESPONSE, min_size=1, max_size=3).map(tuple),
    exhibits=st.lists(EXHIBIT, max_size=2).map(tuple),
    place=TEXT,
)
SAID = {
    "case": TEXT,
    "evaluator": TEXT,
    "seconds": st.none() | st.floats(0, 1e6),
    "seen": st.lists(TEXT, max_size=2).map(tuple),
    "confidence": st.none() | UNIT,
}
TIERS = st.permutations(range(4)).flatmap(
    lambda order: st.integers(1, 3).map(lambda cut: (tuple(order[:cut]), tuple(order[cut:])))
)
OPINIONS = st.lists(st.none() | st.floats(-9, 9), min_size=1, max_size=4).map(tuple)
KINDS = {
    "Preference": {"first_better": UNIT},
    "Ranking": {"tiers": TIERS},
    "Rating": {"score": UNIT, "response": st.integers(0, 3)},
    "Approval": {"approved": st.booleans()},
    "Demonstration": {"text": TEXT},
    "Correction": {"text": TEXT},
    "StepLabels": {"labels": st.lists(st.none() | UNIT, min_size=1, max_size=4).map(tuple)},
    "ActionLabels": {"labels": st.lists(TEXT, min_size=1, max_size=4).map(tuple)},
    "ActionValues": {"values": OPINIONS, "scale": st.floats(0.1, 10)},
    "Advantages": {"values": OPINIONS, "scale": st.floats(0.1, 10)},
    "Mask": {
        "of": st.sampled_from(["words", "steps"]),
        "marks": st.lists(st.none() | st.booleans(), min_size=1, max_size=4).map(tuple),
        "good": st.none() | UNIT,
    },
    "TermEdit": {
        "term": st.integers(0, 9),
        "use": TEXT,
        "weight": st.floats(-9, 9),
        "settings": st.dictionaries(TEXT, TEXT | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9), max_size=2),
    },
    "Advice": {"text": TEXT},
    "Abstention": {"reason": TEXT},
}
FEEDBACKS = {name: st.builds(getattr(records, name), **SAID, **own) for name, own in KINDS.items()}
COUNT = st.integers(0, 1000)
OTHERS = {
    "Item": ITEM,
    "Response": RESPONSE,
    "Query": QUERY,
    "Exhibit": EXHIBIT,
    "Case": CASE,
    "Exam": st.builds(
        records.Exam,
        moment=TEXT,
        prompts=st.lists(TEXT).map(tuple),
        answers=st.lists(TEXT).map(tuple),
        scores=st.lists(
            st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple), max_size=3
        ).map(tuple),
        trained_on=st.lists(TEXT).map(tuple),
    ),
    "GateResult": st.builds(
        records.GateResult,
        moment=TEXT,
        passed=st.booleans(),
        checked=COUNT,
        agreed=COUNT,
        faults=COUNT,
        found=COUNT,
        agreement_needed=UNIT,
        recall_needed=UNIT,
        log_loss=st.none() | UNIT,
    ),
    "SpotResult": st.builds(
        records.SpotResult,
        moment=TEXT,
        subtask=TEXT,
        helper=TEXT,
        checked=COUNT,
        agreed=COUNT,
        faults=COUNT,
        found=COUNT,
        agreement_needed=UNIT,
        recall_needed=UNIT,
        trusted=st.booleans(),
    ),
    "Arm": st.builds(
        records.Arm,
        name=TEXT,
        varied=st.dictionaries(TEXT, st.integers() | TEXT | st.booleans()),
        seed=COUNT,
        plan=st.dictionaries(TEXT, TEXT),
        nodes=st.dictionaries(TEXT, TEXT),
    ),
    "Rejudged": st.builds(records.Rejudged, node=TEXT, evaluator=st.dictionaries(TEXT, st.integers() | TEXT), key=TEXT),
    "Text": st.builds(Text, text=TEXT),
    "Code": st.builds(Code, text=TEXT, language=TEXT),
    "Table": st.builds(Table, columns=st.lists(TEXT).map(tuple), rows=st.lists(st.lists(TEXT).map(tuple)).map(tuple)),
    "Image": st.builds(Image, pixels=st.lists(st.lists(COUNT).map(tuple)).map(tuple), alt=TEXT),
    "Frames": st.builds(Frames, frames=st.lists(st.builds(Text, text=TEXT)).map(tuple)),
}
EVERY = {**FEEDBACKS, **OTHERS}


def test_a_changed_copy_has_an_id_of_its_own() -> None:
    item = Item(task="t", prompt="one")
    before = item.id, item.body
    other = item.model_copy(update={"prompt": "two"})
    assert other == Item(task="t", prompt="two")
    assert (other.id, other.body) == (Item(task="t", prompt="two").id, Item(task="t", prompt="two").body)
    assert (item.id, item.body) == before


def test_no_record_type_is_left_out() -> None:
    known = {n for n, v in vars(records).items() if isinstance(v, type) and issubclass(v, Record)}
    assert known - {"Record", "_Feedback", "_OfSteps"} <= EVERY.keys()


@pytest.mark.parametrize("name", EVERY)
@given(data=st.data())
def test_json_gives_back_the_same_record_and_id(name: str, data: st.DataObject) -> None:
    record: Record = data.draw(EVERY[name])
    again = type(record).model_validate_json(record.model_dump_json())
    assert again == record
    assert again.id == record.id
    assert len(record.id) == 16


@pytest.mark.parametrize("name", FEEDBACKS)
@given(data=st.data())
def test_feedback_is_told_apart_by_its_kind(name: str, data: st.DataObject) -> None:
    said = data.draw(FEEDBACKS[name])
    assert FEEDBACK.validate_json(said.model_dump_json()) == said
    assert said.comparisons >= 0


@given(CASE, CASE)
def test_ids_are_equal_just_where_records_are(one: Case, other: Case) -> None:
    assert (one.id == other.id) == (one == other)


def test_records_of_two_types_never_share_an_id() -> None:
    assert Text(text="x").id != Code(text="x").id
    assert Item(task="", prompt="").id != Response(item="", text="").id


def test_ids_are_the_same_in_another_process_and_do_not_change_over_time() -> None:
    """Written out: a change of any of these would part every record of the past from its id."""
    item = Item(task="column-sum", prompt="Add up: 1 2 ٣ \u202e")
    case = Case(item=item, responses=(Response(item=item.id, text="6"),), place="0/1")
    code = (
        "import sys, json; from rrm.records import *\n"
        "case = Case.model_validate_json(sys.stdin.read()); print(json.dumps([case.item.id, case.id]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], input=case.model_dump_json(), capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout) == [item.id, case.id] == ["d478572442f31d6a", "96a1ab6d3f320845"]


def test_records_do_not_change_and_take_no_stray_keys() -> None:
    item = Item(task="t", prompt="p")
    with pytest.raises(ValidationError, match="frozen"):
        item.prompt = "q"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Item(task="t", prompt="p", answer="42")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "preference", "first_better": 1.5},
        {"kind": "rating", "score": -0.1},
        {"kind": "ranking", "tiers": [[0], [0]]},
        {"kind": "ranking", "tiers": [[-1]]},
        {"kind": "ranking", "tiers": []},
        {"kind": "telepathy"},
        {"kind": "step-labels", "labels": []},
        {"kind": "step-labels", "labels": [1.5]},
        {"kind": "action-labels", "labels": []},
        {"kind": "action-values", "values": [float("nan")]},
        {"kind": "advantages", "values": [1.0], "scale": 0},
    ],
)
def test_feedback_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FEEDBACK.validate_python({"case": "c", "evaluator": "e", **wrong})


def test_a_case_shows_at_least_one_answer() -> None:
    with pytest.raises(ValidationError):
        Case(item=Item(task="t", prompt="p"), responses=())


def test_what_counts_as_how_many_comparisons() -> None:
    assert Preference(case="", evaluator="", first_better=1).comparisons == 1
    assert Ranking(case="", evaluator="", tiers=((2,), (0, 1, 3))).comparisons == 3
    assert Ranking(case="", evaluator="", tiers=((0,),)).comparisons == 0
    assert StepLabels(case="", evaluator="", labels=(0, None, 1)).comparisons == 2
    assert ActionLabels(case="", evaluator="", labels=("U", "", "D", "L")).comparisons == 3
    assert ActionValues(case="", evaluator="", values=(0.0, None)).comparisons == 1
    assert Advantages(case="", evaluator="", values=(None, None)).comparisons == 0


def test_an_arm_says_in_words_what_it_is() -> None:
    arm = records.Arm(name="plain", seed=0, varied={"effort.rounds": 1}, plan={}, nodes={})
    assert arm.label == "plain, seed 0, effort.rounds 1"


def test_arms_are_one_arm_if_name_and_seed_and_what_varies_agree() -> None:
    first = records.Arm(name="plain", seed=0, varied={"a": 1, "b": 2}, plan={}, nodes={})
    later = first.model_copy(update={"varied": {"b": 2, "a": 1}, "plan": {"x": 1}, "title": "again"})
    others = [first.model_copy(update=u) for u in ({"name": "other"}, {"seed": 1}, {"varied": {"a": 1}})]
    assert records.slots([first, *others, later]) == [[first, later], *([other] for other in others)]
