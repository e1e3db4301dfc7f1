"""What a command says to a word that it does not know: what was probably meant, in one plain line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, STUDY, Rrm


@pytest.mark.parametrize("name", ["column_sum", "column-sum", "column_sum.toml"])
@pytest.mark.parametrize("command", ["run", "plan", "graph"])
def test_a_study_may_be_named_by_half(command: str, name: str, rrm: Rrm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    said = rrm(command, name)
    assert said.code == 1
    assert said.err == f"rrm: there is no plan {name!r}. Did you mean 'configs/column_sum.toml'?\n"


def test_check_knows_studies_by_half_too(rrm: Rrm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "Did you mean 'configs/column_sum.toml'?" in rrm("check", "column_sum").err


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (("new", "tsak", "x"), "there is no 'tsak'. Did you mean 'task'?"),
        (("export", "--format", "cvs", "runs/x"), "there is no 'cvs'. Did you mean 'csv'?"),
        (("verify", "--policy", "greed", "runs/x"), "there is no 'greed'. Did you mean 'greedy'?"),
    ],
)
def test_one_of_a_few_words(call: tuple[str, ...], hint: str, rrm: Rrm) -> None:
    said = rrm(*call)
    assert said.code == 2
    assert hint in said.err
    assert "Value error" not in said.err


def test_wrappers_are_listed_as_a_kind_of_their_own(rrm: Rrm) -> None:
    found = json.loads(rrm("list", "wrapper", "--json").out)
    assert {e["name"] for e in found["wrapper"]} == {"cached", "constant", "corrupted", "majority"}
    assert "Did you mean 'wrapper'?" in rrm("list", "wraper").err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[arm.a]\n[arm.b]\ncast = { evaluater = 'oracle' }\n", "arm.b: cast.evaluater (of the nodes block, total): "),
        ("[arm.a]\n[arm.b]\nefort = { cases = 3 }\n", "arm.b: efort: "),
        ("[arm.b.node.total.cast]\nevaluater = 'oracle'\n", "arm.b: node.total.cast.evaluater: "),
        ("[vary]\nseeds = [0, 1]\n[arm.b]\n", "vary.seeds: "),
        ("[vary]\neffort.casses = [3, 4]\n", "vary: effort.casses (of the nodes block, total): "),
    ],
)
def test_a_slip_is_told_with_the_table_that_it_stands_in(more: str, told: str, study: Path, rrm: Rrm) -> None:
    study.write_text(STUDY + more)
    said = rrm("check", study)
    assert said.code == 1
    assert said.err.startswith(f"rrm: {study}: {told}there is no such key here. Did you mean ")
    assert said.err.count("\n") == 1


def test_a_slip_that_all_arms_share_is_told_without_one(study: Path, rrm: Rrm) -> None:
    study.write_text(STUDY.replace("evaluator = ", "evaluater = ") + "[arm.a]\n[arm.b]\n")
    assert rrm("check", study).err.startswith(f"rrm: {study}: cast.evaluater (of the nodes block, total): ")
    study.write_text(STUDY)
    assert "vary.seeds: there is no such key here" in rrm("check", study, "--set", "vary.seeds=[0, 1]").err


def test_a_file_without_its_class(study: Path, rrm: Rrm) -> None:
    study.with_name("sign_sum.py").write_text("class SignSum(Task): ...\n")
    study.write_text(STUDY.replace('"column-sum", length = 4', '"sign_sum.py", length = 4'))
    assert "'sign_sum.py' is a file: name its class too, as in 'sign_sum.py:" in rrm("check", study).err
