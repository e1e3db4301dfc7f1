"""Untrusted text: nothing that hides, reorders or acts survives, and nothing that shows is lost."""

from __future__ import annotations

import csv
import io
from unicodedata import category, combining

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from rrm.inert import MARKS, file_name, from_spreadsheet_cell, inert, spreadsheet_cell

HIDDEN = [
    "\x1b[2J",
    "a\rb",
    "a\x08b",
    "\x7f",
    "\x9b31m",
    "\u202eabc",
    "\u2066x\u2069",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u00ad",
    "\u2028",
    "\u2029",
    "\ue000",
    "\ud800",
    "\U000e0041\U000e0042",
    "\U000e0101",
    "a\ufe00",
    "a\ufe0f",
    "\u3164",
    "\u115f",
    "\u034f",
    "\U0010ffff",
]
anything = st.text(alphabet=st.characters(codec=None), max_size=80) | st.text(
    alphabet=st.sampled_from("a1 \n\t\r\x1b\u0301\u0302\ufe0f\ufe0e❤\u202e\u200d‹›\U000e0041\u3164"), max_size=80
)


@pytest.mark.parametrize("text", HIDDEN)
def test_what_hides_is_written_out(text: str) -> None:
    shown = inert(text)
    assert "‹U+" in shown
    assert not set(text) - set("ab[2J31mcx") & set(shown)


@given(anything)
@example("\r\r\n")
@example("x" + "\u0301" * 20 + "\ufe0f")
def test_only_visible_characters_are_left(text: str) -> None:
    shown = inert(text)
    for character in shown:
        assert character == "\n" or category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    run = 0
    for character in shown:
        run = run + 1 if category(character) in {"Mn", "Me"} else 0
        assert run <= MARKS


@given(anything, st.integers(0, 120))
def test_twice_is_once(text: str, limit: int) -> None:
    shown = inert(text, limit)
    assert inert(shown, limit) == shown
    assert len(shown) <= max(limit, 40)


@given(st.text(max_size=200))
def test_printable_text_is_left_alone(text: str) -> None:
    plain = "".join(c for c in text if c.isprintable() and category(c) not in {"Mn", "Me"} and c not in HIDDEN)
    plain = plain.translate(dict.fromkeys([0x115F, 0x1160, 0x3164, 0xFFA0]))
    assert inert(plain) == plain


def test_what_people_write_is_left_alone() -> None:
    for text in ("naïve café", "e\u0301", "日本語", "שלום", "❤\ufe0f", "x < y && z", "two\nlines", "[bold]no[/bold]"):
        assert inert(text) == text
    assert inert("a\tb\r\nc") == "a   b\nc"


def test_long_text_keeps_its_ends_and_counts_the_rest() -> None:
    text = "".join(chr(ord("a") + i % 26) for i in range(50_000))
    shown = inert(text, 200)
    head, _, rest = shown.partition("‹")
    count, _, tail = rest.partition(" more characters›")
    assert len(shown) <= 200
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(tail) > 20
    assert int(count) + len(head) + len(tail) == len(text)


def test_a_flood_of_marks_is_counted() -> None:
    assert inert("o" + "\u0301" * 12 + "k") == "o" + "\u0301" * MARKS + "‹+8 marks›k"
    assert all(combining(c) == 0 for c in inert("o" + "\u034f" * 3))


def test_a_console_shows_it_as_it_is() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="truecolor", width=60)
    console.print(Text(inert("\x1b[31m[red]hi[/red]\x07:smile:")))
    assert stream.getvalue() == "‹U+001B›[31m[red]hi[/red]‹U+0007›:smile:\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "  =", "\t=", "\r=", "\n="])
def test_no_cell_is_a_formula(start: str) -> None:
    cell = spreadsheet_cell(start + "1+cmd|' /C calc'!A0")
    assert cell.lstrip()[0] not in "=+-@＝"
    out = io.StringIO()
    csv.writer(out).writerow([cell, "x"])
    assert next(csv.reader(io.StringIO(out.getvalue()))) == [cell, "x"]
    assert from_spreadsheet_cell(cell) == inert(start + "1+cmd|' /C calc'!A0")


def test_numbers_and_words_are_cells_as_they_are() -> None:
    for text in ("-5", "+3", "3.25", "-0.5", "", "hello", "a=b"):
        assert spreadsheet_cell(text) == text
    assert spreadsheet_cell("-5+1") == "'-5+1"


@given(st.text("'=+-@5＝ \na", max_size=6))
def test_what_a_cell_was_made_of_is_found_again(text: str) -> None:
    assert from_spreadsheet_cell(spreadsheet_cell(text)) == text


@given(anything)
@example("..")
@example("")
@example("CON.txt")
@example("../../etc/passwd")
def test_a_file_name_is_one_safe_name(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name) <= 80
    assert name.isascii()
    assert all(c.isalnum() or c in "._-" for c in name)
    assert name[0] not in ".-"
    assert name.split(".")[0].lower() not in {"con", "nul", "aux", "prn"}
    assert file_name(name) == name


def test_different_texts_keep_different_names() -> None:
    texts = ["a b", "a/b", "a:b", "a-b", "x" * 200, "x" * 201, "日本", "語", "", ".", "con", "CON"]
    assert len({file_name(text) for text in texts}) == len(texts)
    assert file_name("node.total-1") == "node.total-1"
