"""Feedback in and out: tables and pairs that others read, and judgements from elsewhere that train a node."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import Rrm

from rrm import build
from rrm.errors import PlanError, RrmError, StoreError
from rrm.exchange import writing
from rrm.exchange.imported import judgements
from rrm.exchange.pairs import PAIR, pairs
from rrm.exchange.rows import COLUMNS, Chosen, judged, row, told
from rrm.job import jobs
from rrm.plan import Study
from rrm.records import (
    FEEDBACK,
    Abstention,
    Arm,
    Case,
    Correction,
    Demonstration,
    Exam,
    Exhibit,
    Feedback,
    Item,
    Preference,
    Ranking,
    Rating,
    Response,
)
from rrm.registry import TASKS
from rrm.store import Store

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import kill  # type: ignore[import-not-found]

pyarrow = pytest.importorskip("pyarrow")
datasets_there = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the extra `data`")

SUM = TASKS.build("column-sum", {"length": 4})
KEY = "0123456789abcdef"


@pytest.fixture
def trained(study: Path, rrm: Rrm) -> Path:
    out = study.with_name("out")
    assert rrm("run", study, "--out", out, "-w", 1, "-q").code == 0
    return out


def case(*answers: str, prompt: str = "Add up: 1 2 3 4", exhibits: Sequence[Exhibit] = (), place: str = "") -> Case:
    item = Item(task="column-sum", prompt=prompt)
    shown = tuple(Response(item=item.id, text=t, agent="block", sample=i) for i, t in enumerate(answers))
    return Case(item=item, responses=shown, exhibits=tuple(exhibits), place=place)


def recorded(folder: Path, said: Sequence[tuple[Case, Feedback]]) -> Store:
    """A run of one node in which this was judged."""
    store = Store(folder)
    plan: dict[str, Any] = {"node": {"block": {"task": {"use": "column-sum"}}}}
    store.append("study", "arms", [Arm(name="run", seed=0, plan=plan, nodes={"block": KEY})])
    store.append(KEY, "0/cases", [c for c, _ in said])
    store.append(KEY, "0/feedback", [f for _, f in said])
    return store


# -- out --------------------------------------------------------------------------------------------------------------


def test_rows_have_the_columns_and_say_what_was_said(trained: Path) -> None:
    rows = [row(one) for one in told(Store(trained))]
    assert all(list(r) == list(COLUMNS) for r in rows)
    assert Counter((r["node"], r["level"], r["stage"]) for r in rows) == {
        ("block", 0, "round"): 12, ("block", 0, "gate"): 4, ("total", 1, "round"): 12, ("total", 1, "gate"): 4,
    }  # fmt: skip
    for r in rows:
        said = FEEDBACK.validate_json(r["said"])
        assert said.case == r["case"]
        assert (r["first_better"] is not None) == isinstance(said, Preference)
    total = next(r for r in rows if r["node"] == "total" and r["stage"] == "round")
    assert len(total["exhibits"]) == 4
    assert total["arms"] == ["run, seed 7"]
    assert (total["round"], total["place"]) == (0, "0/0")


def test_what_is_told_of_one_case() -> None:
    seen = Exhibit(text="10", title="what block said")
    shown = case("10", "11", exhibits=[Exhibit(text="9"), seen])
    from rrm.exchange.rows import Told

    said = Preference(case=shown.id, evaluator="ann", first_better=0.8, seconds=2.5, seen=(seen.id,), confidence=0.7)
    found = row(Told("block", 0, ("run",), KEY, "gate-3", shown, said))
    assert {k: found[k] for k in ("stage", "round", "opened", "seconds", "confidence", "first_better", "tiers")} == {
        "stage": "gate", "round": 3, "opened": [1], "seconds": 2.5, "confidence": 0.7, "first_better": 0.8,
        "tiers": None,
    }  # fmt: skip
    assert found["agents"] == ["block", "block"]
    spot = Told("street", 1, (), KEY, "spot-2/lamp/drawn", shown, said)
    assert (row(spot)["stage"], row(spot)["round"]) == ("spot", 2)


def test_pairs_of_every_kind_and_what_makes_none() -> None:
    two, three = case("10", "11"), case("a", "b", "c")
    left: Counter[str] = Counter()
    told_of: list[tuple[Case, Feedback]] = [
        (two, Preference(case=two.id, evaluator="e", first_better=0.2)),
        (two, Preference(case=two.id, evaluator="e", first_better=0.5)),
        (three, Ranking(case=three.id, evaluator="e", tiers=((1,), (0, 2)))),
        (three, Ranking(case=three.id, evaluator="e", tiers=((0, 1, 2),))),
        (two, Correction(case=two.id, evaluator="e", response=1, text="12")),
        (two, Rating(case=two.id, evaluator="e", score=1.0)),
        (two, Abstention(case=two.id, evaluator="e", reason="?")),
    ]
    found = [(p.chosen, p.rejected) for p in pairs(told_of, left)]
    assert found == [("11", "10"), ("b", "a"), ("b", "c"), ("12", "11")]
    assert left == {"tie": 2, "rating": 1, "abstention": 1}


def test_trl_has_its_column_names_and_counts_what_is_left_out(trained: Path, rrm: Rrm, tmp_path: Path) -> None:
    """TRL's preference data sets with explicit prompts have these three columns of text, and nothing else is needed."""
    said = rrm("export", trained, "--format", "trl", "--node", "total", "--out", tmp_path / "pairs.jsonl")
    assert (said.code, said.out) == (0, "")
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert rows
    assert all(list(r) == ["prompt", "chosen", "rejected"] for r in rows)
    entries = [one for one in told(Store(trained), Chosen(nodes=["total"])) if one.stage == "round"]
    ratings = sum(isinstance(one.feedback, Rating) for one in entries)
    assert said.err.startswith(f"{len(rows)} pairs; left out: ")
    assert (f"{ratings} × rating" in said.err) == bool(ratings)
    for r in rows:
        best = next(
            e
            for e in entries
            if e.case.item.prompt == r["prompt"] and r["chosen"] in [x.text for x in e.case.responses]
        )
        assert isinstance(best.feedback, Preference)
        assert best.case.responses[best.feedback.first_better < 0.5].text == r["chosen"]
    assert rrm("export", trained, "--format", "trl", "--node", "total").out == (tmp_path / "pairs.jsonl").read_text()
    rrm("export", trained, "--format", "trl", "--node", "total", "--out", tmp_path / "pairs.parquet")
    import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]

    assert pq.read_table(tmp_path / "pairs.parquet").to_pylist() == rows


def test_parquet_holds_every_row_and_equal_runs_give_equal_bytes(trained: Path, rrm: Rrm, tmp_path: Path) -> None:
    import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]

    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    for path in (one, other):
        assert rrm("export", trained, "--format", "parquet", "--out", path).code == 0
    assert one.read_bytes() == other.read_bytes()
    assert pq.read_table(one).to_pylist() == [row(t) for t in told(Store(trained))]
    assert rrm("export", trained, "--format", "parquet", "--training", "--node", "block", "--out", one).code == 0
    assert {(r["node"], r["stage"]) for r in pq.read_table(one).to_pylist()} == {("block", "round")}


@datasets_there
def test_datasets_are_read_by_load_from_disk(trained: Path, rrm: Rrm, tmp_path: Path) -> None:
    import datasets  # type: ignore[import-not-found,unused-ignore]

    for name in ("one", "other", "one"):  # an earlier one is replaced
        assert rrm("export", trained, "--format", "datasets", "--out", tmp_path / name).code == 0
    assert datasets.load_from_disk(str(tmp_path / "one")).to_list() == [row(t) for t in told(Store(trained))]
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "other").iterdir())
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "other" / f).read_bytes() for f in files)


def test_cells_of_a_spreadsheet_are_inert(tmp_path: Path, rrm: Rrm) -> None:
    """Whatever an agent, a helper or a person wrote: no cell is a formula, and nothing hides in it."""
    evil = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "＝1", 'x","=HYPERLINK("//e","ok")', "a\u202eb"]
    said: list[tuple[Case, Feedback]] = []
    for text in evil:
        c = case(text, "11", prompt=text, exhibits=[Exhibit(text=text)])
        said.append((c, Correction(case=c.id, evaluator=text, response=1, text=text)))
    recorded(tmp_path / "run", said)
    out = tmp_path / "x.csv"
    assert rrm("export", tmp_path / "run", "--format", "csv", "--out", out).code == 0
    cells = list(csv.reader(out.read_text().splitlines()))
    assert cells[0] == list(COLUMNS)
    assert len(cells) == 1 + len(evil)
    for line in cells:
        assert len(line) == len(COLUMNS)
        for cell in line:
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝")), cell
            assert "\u202e" not in cell
    assert sum(line[list(COLUMNS).index("prompt")].startswith("'") for line in cells[1:]) == 6


def test_a_spreadsheet_is_read_back_as_it_was(tmp_path: Path, rrm: Rrm) -> None:
    """Whatever stands in answers, in help and in what was said: escapes are undone, and what hides is not lost."""
    texts = ["=1+1", "'=1", "-5", "a\u202eb\x7f\t", '[", "]', "ü\n"]
    said: list[tuple[Case, Feedback]] = []
    for number, text in enumerate(texts):
        c = case(text, "11", exhibits=[Exhibit(text=text)], place=f"0/{number}")
        said.append((c, Correction(case=c.id, evaluator=text, response=1, text=text)))
    recorded(tmp_path / "run", said)
    for name in ("x.csv", "x.parquet"):
        path = tmp_path / name
        assert rrm("export", tmp_path / "run", "--format", path.suffix[1:], "--training", "--out", path).code == 0
        back = list(judgements(path, SUM))
        assert [[r.text for r in c.responses] for c, _ in back] == [[text, "11"] for text in texts]
        assert [c.exhibits for c, _ in back] == [c.exhibits for c, _ in said]
        assert [f.model_dump() | {"case": ""} for _, f in back] == [f.model_dump() | {"case": ""} for _, f in said]


def test_lists_of_a_spreadsheet_that_were_altered_or_cut_are_told(tmp_path: Path, rrm: Rrm) -> None:
    c = case("10", "11", exhibits=[Exhibit(text="x" * 40_000)])
    recorded(tmp_path / "run", [(c, Preference(case=c.id, evaluator="e", first_better=1))])
    path = tmp_path / "x.csv"
    assert rrm("export", tmp_path / "run", "--format", "csv", "--out", path).code == 0
    with pytest.raises(PlanError, match="line 2: exhibits: this was too long for a cell and was cut"):
        list(judgements(path, SUM))
    path.write_text('prompt,answers,said\nAdd up: 1 2 3 4,"10, 11",{}\n')
    with pytest.raises(
        PlanError, match=r"x.csv, line 2: answers: write JSON, .* like \[\"312\", \"310\"\] \(got '10, 11'"
    ):
        list(judgements(path, SUM))


def test_nothing_half_is_left_where_writing_fails(trained: Path, tmp_path: Path) -> None:
    def failing() -> Any:
        yield dict.fromkeys(PAIR, "x")
        raise StoreError("the record is damaged")

    columns: Mapping[str, Any] = dict.fromkeys(PAIR, "text")
    path = tmp_path / "x"
    for write in (
        lambda: writing.parquet(failing(), columns, path),
        lambda: writing.text_file(path, lambda file: writing.jsonl(failing(), file)),
        lambda: writing.dataset(failing(), columns, path),
    ):
        path.write_text("what was here before")
        with pytest.raises(RrmError):
            write()
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith((".", "x"))] == ["x"]
        assert path.read_text() == "what was here before"
    with pytest.raises(RrmError, match="cannot be written"):
        writing.text_file(tmp_path / "no" / "x", lambda file: None)
    with pytest.raises(RrmError, match="this is a folder, and none that `datasets` saved"):
        writing.parquet([], columns, trained)
    assert (trained / "record.sqlite").is_file()


def test_what_is_missing_is_named(trained: Path, rrm: Rrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = rrm("export", trained, "--format", "parquet", "--out", tmp_path / "x.parquet")
    assert said.code == 1
    assert "pyarrow is needed for this format" in said.err
    assert "-e '.[data]'" in said.err
    for arguments, words in (
        (["--format", "parquet"], "needs --out PATH"),
        (["--arm", "run"], "the whole record"),
    ):
        said = rrm("export", trained, *arguments)
        assert said.code == 2
        assert words in said.err.replace("\n", " ")
    said = rrm("export", trained, "--format", "csv", "--node", "totl")
    assert "no node is called 'totl'. Did you mean 'total'?" in said.err
    assert said.out == "", "nothing is written of what is not there"
    assert rrm("export", trained, "--format", "csv", "--arm", "zip").out == ""


def test_a_long_stream_is_read_in_parts_and_what_was_not_judged_left_out(tmp_path: Path) -> None:
    cases = [case("10", "11", prompt=f"Add up: 1 2 3 {n}", place=f"0/{n}") for n in range(7)]
    store = Store(tmp_path)
    store.append(KEY, "0/cases", cases)
    store.write(
        KEY, "0/feedback", [(n, Preference(case=cases[n].id, evaluator="e", first_better=1)) for n in (6, 1, 4)]
    )
    assert [n for n, _ in store.scan(KEY, "0/cases", Case, many=3)] == list(range(7))
    assert [c.place for c, _ in judged(store, KEY, "0")] == ["0/1", "0/4", "0/6"]


def test_what_does_not_fit_its_case_is_a_damaged_record(tmp_path: Path, rrm: Rrm) -> None:
    c = case("10", "11")
    recorded(tmp_path / "run", [(c, Ranking(case=c.id, evaluator="e", tiers=((5,), (0,))))])
    said = rrm("export", tmp_path / "run", "--format", "trl")
    assert said.code == 1
    assert "0/feedback 0 does not fit its case: it speaks of answer 5, counted from 0, of 2" in said.err


# -- in ---------------------------------------------------------------------------------------------------------------

PLAN = """\
# Sums that were judged elsewhere.
seed = 3
effort = { rounds = 2, cases = 0, exam = 8 }
gate = "off"
[cast]
assistant = { use = "careless-adder", slip = 0.5 }
reward    = { use = "tally" }
policy    = { use = "best-of-n", n = 4 }
[node.block]
task = { use = "column-sum", length = 4 }
judged = ["prefs.csv"]
"""
PREFS = 'prompt,chosen,rejected\nAdd up: 1 2 3 4,10,11\n"Add up: 5 6 7 8",26,25\n'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "prefs.csv").write_text(PREFS)
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def all_pairs(judged: Any) -> list[tuple[str, str, str]]:
    return sorted(pairs(judged, Counter()))


FORMS = [
    ("trl", "p.jsonl"),
    ("trl", "p.parquet"),
    ("parquet", "all.parquet"),
    ("csv", "all.csv"),
    ("datasets", "folder"),
]


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_what_is_exported_and_imported_gives_the_same_pairs(
    form: str, name: str, trained: Path, rrm: Rrm, tmp_path: Path
) -> None:
    if form == "datasets":
        pytest.importorskip("datasets")
    path = tmp_path / name
    assert rrm("export", trained, "--format", form, "--node", "block", "--training", "--out", path).code == 0
    source = [(t.case, t.feedback) for t in told(Store(trained), Chosen(nodes=["block"], training=True))]
    back = list(judgements(path, SUM))
    assert all_pairs(back) == all_pairs(source)
    assert len(all_pairs(back)) > 3
    if form != "trl":  # and all that was said, by whom, with the help that there was

        def plain(case: Case, feedback: Feedback) -> Any:
            return case.item, case.responses, case.exhibits, feedback.model_dump() | {"case": ""}

        assert [plain(*j) for j in back] == [plain(*j) for j in source]


def test_forms_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "\ufeffprompt,first,second,preference,evaluator,seconds\n"
        "Add up: 1 2 3 4,10,11,0.75,ann,2.5\nAdd up: 1 2 3 4,9,10,0,,\n"
    )
    (a, one), (b, other) = judgements(path, SUM)
    assert one == Preference(case=a.id, evaluator="ann", first_better=0.75, seconds=2.5)
    assert other == Preference(case=b.id, evaluator="x.csv", first_better=0)
    assert [r.text for r in b.responses] == ["9", "10"]
    assert (a.place, b.place) == ("judged/0", "judged/1")
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "Add up: 1 2 3 4", "answer": "10", "score": 0.9, "confidence": 1}\n\n')
    ((c, rating),) = judgements(path, SUM)
    assert rating == Rating(case=c.id, evaluator="x.jsonl", score=0.9, confidence=1)


GOOD = "Add up: 1 2 3 4"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.csv", "prompt,chosen\na,b\n", "line 2: the column 'rejected' is missing (there are 'prompt, chosen')"),
        ("x.csv", f"prompt,chosen,rejected\n{GOOD},10\n", "line 2: 2 cells under 3 columns"),
        ("x.csv", f"prompt,chosen,rejected\n{GOOD},10,11\nAdd up: 1 2,3,4\n", "line 3: prompt: 'Add up: 1 2' is no"),
        ("x.csv", f"prompt,chosen,rejected\n{GOOD},10,10\n", "line 2: chosen and rejected are the same, '10'"),
        ("x.csv", f"prompt,chosen,rejected\n{GOOD}, ,11\n", "line 2: chosen: this is empty"),
        ("x.csv", f"prompt,first,second,preference\n{GOOD},10,11,1.5\n", "line 2: preference: write 1 where the first"),
        ("x.csv", f"prompt,first,second,preference\n{GOOD},10,11,nan\n", "line 2: preference: write 1 where the first"),
        ("x.csv", f"prompt,answer,score\n{GOOD},10,good\n", "line 2: score: write 0 for worthless"),
        ("x.csv", f"prompt,answer,score,seconds\n{GOOD},10,1,inf\n", "line 2: seconds: write 0 or more (got 'inf')"),
        ("x.csv", "prompt,prompt\na,b\n", "line 1: two columns are called 'prompt'"),
        ("x.csv", "prompt,chosen,rejected\n", "there is no row in it"),
        ("x.csv", 'prompt,chosen,rejected\n"a"b,1,2\n', "this is no CSV"),
        ("x.csv", b"prompt,chosen,rejected\n\xff,1,2\n", "line 2: this is not UTF-8"),
        ("x.jsonl", "{}", "line 1: the column"),
        ("x.jsonl", "[1]", "line 1: write one JSON object a line"),
        ("x.jsonl", '\n{"prompt": ', "line 2: this is no JSON"),
        ("x.jsonl", '{"prompt": 1, "chosen": "a", "rejected": "b"}', "line 1: prompt: write a text (got 1)"),
        (
            "x.jsonl",
            '{"prompt": "p", "chosen": [{"role": "user", "content": "x"}], "rejected": []}',
            "line 1: chosen: this is a list, as of messages; write the text alone",
        ),
        ("x.jsonl", '{"prompt": "\\ud800", "chosen": "a", "rejected": "b"}', "line 1: prompt: this holds half of a"),
        ("x.jsonl", f'{{"prompt": "{GOOD}", "answer": "1", "score": true}}', "line 1: score: write 0 for worthless"),
        ("x.parquet", "no parquet", "x.parquet: this Parquet file cannot be read"),
        ("x.xlsx", "", "is told by its ending, one of .csv, .jsonl, .parquet"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_told_by_file_line_and_what_to_write(
    name: str, text: str | bytes, words: str, tmp_path: Path, plan: Path, rrm: Rrm
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    said = rrm("run", plan, "--out", tmp_path / "out", "--set", f"node.block.judged={name}")
    assert said.code == 1
    assert said.err.startswith(f"rrm: {plan}: node.block.judged: ")
    assert str(tmp_path / name) in said.err
    assert words in said.err, said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists(), "nothing is half read"


def of_rrm(**changes: Any) -> dict[str, Any]:
    said = {"kind": "preference", "evaluator": "e", "case": "", "first_better": 1.0}
    return {"prompt": GOOD, "answers": ["10", "11"], "said": json.dumps(said), **changes}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (of_rrm(stage="gate"), "stage: 'gate' is a check, and nothing is learnt from those"),
        (of_rrm(answers=["10"]), "a preference is between two answers, and there are 1"),
        (of_rrm(answers=["10", ""]), "answers: this is empty"),
        (of_rrm(agents=["a"]), "1 agents gave 2 answers"),
        (of_rrm(said="{"), "said, exhibits_json: "),
        (of_rrm(said='{"kind": "preference", "evaluator": "e", "first_better": 2}'), "first_better: "),
        (of_rrm(said='{"kind": "rating", "evaluator": "e", "score": 1, "response": 7}'), "it speaks of answer 7"),
        (of_rrm(exhibits_json='[{"tex": 1}]'), "said, exhibits_json: "),
    ],
)
def test_a_row_of_rrm_that_was_altered_is_refused(cells: Mapping[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(cells) + "\n")
    with pytest.raises(PlanError, match="line 1: ") as error:
        list(judgements(path, SUM))
    assert words in str(error.value)


def test_answers_and_words_that_the_task_does_not_know_are_refused(tmp_path: Path) -> None:
    task, path = TASKS.build("glossary", {"level": 0}), tmp_path / "x.csv"
    item = task.sample(Random(0))
    right, other = (task.answers(item) or ())[:2]
    path.write_text(f"prompt,chosen,rejected\n{item.prompt},{right},{other}\n")
    assert len(list(judgements(path, task))) == 1
    path.write_text(f"prompt,chosen,rejected\n{item.prompt},{right},xyzzy\n")
    with pytest.raises(PlanError, match="'xyzzy' is none of the answers of the task 'glossary'"):
        list(judgements(path, task))


@pytest.mark.parametrize(
    ("prompt", "answer", "words"),
    [
        ("off-switch 5 x0", "U", "'off-switch 5 x0' is no item of the task 'gridworld'"),
        ("off-switch 5 \u0663", "U", "is no item of the task"),
        ("off-switch 5 007", "U", "is no item of the task"),
        (f"off-switch 5 {1 << 64}", "U", "is no item of the task"),
        (f"off-switch 5 {'9' * 5000}", "U", "is no item of the task"),
        ("off-switch 5 7", "what is this", "'what is this' is no episode of the task 'gridworld': write a letter of"),
        ("off-switch 5 7", "U" * 500, "for each step, at most "),
    ],
)
def test_what_nobody_can_have_lived_is_refused(prompt: str, answer: str, words: str, tmp_path: Path) -> None:
    """Before training, in which it would fail, or would be read as an episode that it is not."""
    task, path = TASKS.build("gridworld", {"world": "off-switch"}), tmp_path / "x.jsonl"
    row = {"prompt": task.sample(Random(0), held_out=True).prompt, "chosen": "L", "rejected": "UUUD"}
    path.write_text(json.dumps(row))
    assert len(list(judgements(path, task))) == 1
    path.write_text(json.dumps({"prompt": prompt, "chosen": "L", "rejected": answer}))
    with pytest.raises(PlanError) as told:
        list(judgements(path, task))
    assert words in str(told.value)


@pytest.mark.parametrize("seen", ["", "zz", "zz U qq", "000000000000 U 000000000000 U"])
def test_what_no_frame_says_is_refused(seen: str) -> None:
    for name in ("gridworld-step", "gridworld-audit"):
        task = TASKS.build(name, {"world": "off-switch"})
        right = task.sample(Random(0))
        assert task.accepts(right)
        assert not task.accepts(right.model_copy(update={"prompt": f"off-switch: {seen}"}))
        assert not task.accepts(right.model_copy(update={"prompt": f"{right.prompt} "}))


def test_what_is_nested_too_deep_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for text in ("[" * 200_000, json.dumps(of_rrm(said="[" * 200_000))):
        path.write_text(text)
        with pytest.raises(PlanError, match=r"line 1: .*lists in lists, too deep"):
            list(judgements(path, SUM))


def test_a_demonstration_is_checked_too(tmp_path: Path) -> None:
    task, path = TASKS.build("glossary", {"level": 0}), tmp_path / "x.jsonl"
    item = task.sample(Random(0))
    (answer, *_) = task.answers(item) or ()
    said = Demonstration(case="", evaluator="e", text="xyzzy").body
    path.write_text(json.dumps({"prompt": item.prompt, "answers": [answer], "said": said}))
    with pytest.raises(PlanError, match="'xyzzy' is none of the answers"):
        list(judgements(path, task))


def test_a_plan_that_asks_nobody_learns_from_elsewhere(plan: Path, rrm: Rrm) -> None:
    out = plan.with_name("out")
    said = rrm("run", plan, "--out", out, "-w", 1, "-q")
    assert said.code == 0, said.err
    store, key = Store(out), jobs(Study.load(plan))[0][0].key
    assert store.streams(key) == ["exam", "judged/cases", "judged/feedback"]
    wins = json.loads((store.agent_folder(key, "published") / "reward" / "wins.json").read_text())
    assert wins == {"Add up: 1 2 3 4": {"10": 0.5, "11": -0.5}, "Add up: 5 6 7 8": {"25": -0.5, "26": 0.5}}
    node = json.loads(rrm("report", out, "--json").out)["arms"][0]["nodes"]["block"]
    assert (node["imported_judgements"], node["judgements"], node["judge_accuracy"]) == (2, None, None)
    assert "answer 1: 10" in rrm("show", out, "block/judged/0").out
    without = rrm("plan", plan, "--set", "node.block.judged=[]")
    assert without.code == 1
    assert "or name files of judgements in node.block.judged" in without.err


def test_they_stand_among_all_that_is_judged(plan: Path, rrm: Rrm) -> None:
    out = plan.with_name("out")
    assert rrm("run", plan, "--out", out, "-w", 1, "-q", "--set", "effort.cases=5").code == 0
    store = Store(out)
    (key,) = {t.key for t in told(store)}
    wins = json.loads((store.agent_folder(key, "published") / "reward" / "wins.json").read_text())
    assert wins["Add up: 1 2 3 4"] == {"10": 0.5, "11": -0.5}
    assert len(wins) > 2
    node = json.loads(rrm("report", out, "--json").out)["arms"][0]["nodes"]["block"]
    assert (node["imported_judgements"], node["judgements"]) == (2, 10)


def test_an_exam_that_was_judged_elsewhere_is_told_as_no_news(plan: Path, rrm: Rrm) -> None:
    """Half of what stands in the exam is judged in a file: half of it is asked in training."""
    sets = ["-w", 1, "-q", "--out", plan.with_name("out")]
    assert rrm("run", plan, *sets).code == 0
    store, key = Store(plan.with_name("out")), jobs(Study.load(plan))[0][0].key
    exam = next(e for e in store.read(key, "exam", Exam).values() if e.moment == "round-1")
    rows = [f"{prompt},1,2" for prompt in exam.prompts[:4]]
    plan.with_name("held-out.csv").write_text("\n".join(["prompt,chosen,rejected", *rows]))

    def share() -> float:
        found = json.loads(rrm("report", plan.with_name("out"), "--json").out)
        return float(found["arms"][0]["nodes"]["block"]["asked_in_training"])

    assert share() == 0
    assert rrm("run", plan, *sets, "--set", "node.block.judged=held-out.csv").code == 0
    assert share() == 0.5


def test_plan_counts_them_apart(plan: Path, rrm: Rrm) -> None:
    said = rrm("plan", plan, "--no-measure", "--set", "effort.cases=5")
    assert "at most 10 judgements" in said.out
    assert "2 judgements made elsewhere, read from files" in said.out
    found = json.loads(rrm("plan", plan, "--no-measure", "--json").out)
    assert (found["total"]["judgements"], found["total"]["imported"]) == (0, 2)


def test_what_is_in_a_file_counts_and_not_where_it_is(plan: Path, tmp_path: Path) -> None:
    def key(*sets: str) -> str:
        return jobs(Study.load(plan, sets=sets))[0][0].key

    first = key()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "same.csv").write_text(PREFS)
    assert key("node.block.judged=deeper/same.csv") == first
    (tmp_path / "prefs.csv").write_text(PREFS.replace("26,25", "26,24"))
    assert key() != first
    bare = PLAN.replace('judged = ["prefs.csv"]\n', "").replace("cases = 0", "cases = 4")
    plan.write_text(bare)
    assert key() == jobs(Study.load(plan, sets=["node.block.judged=[]"]))[0][0].key


def test_cut_off_at_every_single_write(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `test_resume.py`: here the first writes are of what was judged elsewhere."""

    class Crash(BaseException):
        """Stands for the power being cut."""

    study = Study.load(plan, sets=["effort.cases=3"])
    build.run(study, Store(tmp_path / "whole"), workers=1)
    wanted, left, real = kill.contents(tmp_path / "whole"), 0, Store.write

    def cutting(self: Store, *args: Any, **kwargs: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash
        real(self, *args, **kwargs)

    monkeypatch.setattr(Store, "write", cutting)
    for number in itertools.count(1):
        out, left = tmp_path / str(number), number
        try:
            build.run(study, Store(out), workers=1)
        except Crash:
            build.run(study, Store(out), workers=1)
            assert kill.differences(kill.contents(out), wanted) == [], number
        else:
            break
    assert number > 8
