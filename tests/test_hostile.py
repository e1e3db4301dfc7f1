"""The hostile corpus, wherever agents' text is shown or kept: it is text there, and nothing but text."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hostile import CORPUS, MUST_NOT_SURVIVE, TEXTS, storable
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from test_report import arm, case, checked, exam, graph, helped, keyed, said
from typer.testing import CliRunner

from rrm.cli import app
from rrm.inert import MARKS, file_name, inert, spreadsheet_cell
from rrm.picture import label, short
from rrm.records import Exhibit
from rrm.report import Report
from rrm.store import Store

of_each_kind = pytest.mark.parametrize("kind", CORPUS)


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    assert len(TEXTS) >= 200
    assert len(set(TEXTS)) == len(TEXTS)
    assert all(len(texts) >= 10 for texts in CORPUS.values())


@of_each_kind
def test_inert_text_neither_acts_nor_hides(kind: str) -> None:
    for text in CORPUS[kind]:
        shown = inert(text, 400)
        assert not MUST_NOT_SURVIVE.search(shown)
        assert "\r" not in shown
        assert "\t" not in shown
        assert len(shown) <= 400
        assert inert(shown, 400) == shown
        shown.encode("utf-8")
        run = most = 0
        for character in shown:
            run = run + 1 if Text(character).cell_len == 0 and character != "\n" else 0
            most = max(most, run)
        assert most <= MARKS
        if text.strip():
            assert shown.strip(), "something was said, and something is seen"


@of_each_kind
def test_a_cell_is_no_formula_and_a_table_keeps_its_shape(kind: str) -> None:
    for text in CORPUS[kind]:
        cell = spreadsheet_cell(text)
        first = cell.lstrip()[:1]
        try:
            float(cell)
        except ValueError:
            assert not first or first not in "=+-@＝＋－＠"
        out = io.StringIO()
        csv.writer(out).writerow(["before", cell, "after"])
        assert list(csv.reader(io.StringIO(out.getvalue(), newline=""))) == [["before", cell, "after"]]


@of_each_kind
def test_a_name_stays_in_its_folder(kind: str, tmp_path: Path) -> None:
    for text in CORPUS[kind]:
        place = tmp_path / file_name(text)
        assert place.parent == tmp_path
        assert place.resolve().parent == tmp_path.resolve()
        place.write_text("x")
    assert {p.name for p in tmp_path.iterdir()} == {file_name(text) for text in CORPUS[kind]}


def test_different_texts_have_different_names() -> None:
    assert len({file_name(text).casefold() for text in TEXTS}) == len(TEXTS)


@of_each_kind
def test_a_console_moves_no_cursor(kind: str) -> None:
    for text in CORPUS[kind]:
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=True, color_system=None, width=80, height=25)
        console.print(Text(inert(text, 400)), style=None)
        assert not MUST_NOT_SURVIVE.search(stream.getvalue())
        assert all(cell_len(line) <= 80 for line in stream.getvalue().splitlines())


@of_each_kind
def test_a_label_is_one_line_without_markup(kind: str) -> None:
    for text in CORPUS[kind]:
        assert len(short(text, 40).splitlines()) <= 1
        assert not set('<>"') & set(label(text))


def judged(store: Store, texts: list[str]) -> None:
    """Arms, nodes, varied keys, answers and exhibits, all of which are hostile; of each, one case is right."""
    for i, text in enumerate(map(storable, texts)):
        bad = Exhibit(title=text, text=text, agent=text, query=helped("1", "1").query)
        key = keyed(f"k{i}")
        cases = [case("1", f"{text}{end}", "1", exhibits=(bad, Exhibit(kind=text[:100], text=text))) for end in "AB"]
        store.append(key, "0/cases", cases)
        store.append(key, "0/feedback", [said(c, place) for place, c in enumerate(cases)])
        store.append(key, "exam", [exam("round-0", "0123")])
        name = text[:3000]
        store.append("study", "arms", [arm(name, i, {"whole": f"k{i}"}, **{name: name})])


@of_each_kind
def test_reports_show_it_as_text(kind: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    judged(store, CORPUS[kind])
    report = Report.from_store(store, graph_of=graph)
    report.write_html(tmp_path / "report.html")
    stream = io.StringIO()
    report.print(Console(file=stream, width=100, force_terminal=False))
    figures = json.dumps(report.to_json())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    checked(page)
    assert len(page) < 1_500_000
    assert kind != "script" or "&lt;script&gt;alert(1)" in page, "it is shown, and not left out"
    for text in (page, stream.getvalue()):
        found = MUST_NOT_SURVIVE.search(text)
        assert not found, text[max(found.start() - 60, 0) : found.end() + 60].encode("unicode_escape")
    assert max(map(cell_len, stream.getvalue().splitlines())) <= 100
    assert "49" not in stream.getvalue().split()
    assert json.loads(figures)["schema"] == 1


@of_each_kind
def test_a_case_in_the_terminal_is_text(kind: str, tmp_path: Path) -> None:
    judged(Store(tmp_path), CORPUS[kind])
    for number in range(len(CORPUS[kind])):
        ran = CliRunner().invoke(app, ["show", str(tmp_path), f"{keyed(f'k{number}')}/0/0"])
        assert ran.exit_code == 0, ran.output[-300:]
        assert not MUST_NOT_SURVIVE.search(ran.output)
        assert "judgement: preference" in ran.output
