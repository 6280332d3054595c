"""The checks against answers as students write them: every wrong one refused by name, every right one accepted."""

from collections import Counter
from pathlib import Path

import pytest

from mlcourse.checks.engine import exercises
from mlcourse.checks.killrate import Bank, Row, kill_rate, load, main, verdict

FOLDER = Path(__file__).parent / "wrong"
BANKS = {path.stem: load(path) for path in sorted(FOLDER.glob("[0-9][0-9].py"))}
WRONG = [one for bank in BANKS.values() for one in bank.wrong_ones]
RIGHT = [one for bank in BANKS.values() for one in bank.right_ones]


def name(one):
    return f"{one.exercise_id}-{one.function.__name__}"


@pytest.mark.parametrize("one", WRONG, ids=name)
def test_a_wrong_answer_is_refused_by_name(one):
    found = verdict(one.exercise_id, one.function)
    assert found.state == "wrong"
    assert one.words in found.message


@pytest.mark.parametrize("one", RIGHT, ids=name)
def test_a_right_answer_written_another_way_is_accepted(one):
    found = verdict(one.exercise_id, one.function)
    assert found.state == "right", found.message


@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.id)
def test_every_exercise_has_six_wrong_answers_and_two_right_ones(exercise):
    assert Counter(one.exercise_id for one in WRONG)[exercise.id] >= 6
    assert Counter(one.exercise_id for one in RIGHT)[exercise.id] >= 2


def test_every_answer_has_its_own_name():
    names = Counter(map(name, [*WRONG, *RIGHT]))
    assert [each for each, count in names.items() if count > 1] == []


def test_the_kill_rate_counts_what_got_through():
    bank = Bank()
    bank.wrong("1.10", "equal guess")(lambda train, validation, k: __import__("numpy").log(k))
    bank.wrong("1.10", "words nobody says")(lambda train, validation, k: 17.0)

    @bank.wrong("1.10", "anything")
    def not_begun(train, validation, k):
        raise NotImplementedError

    @bank.right("1.10")
    def not_right_at_all(train, validation, k):
        return 17.0

    assert kill_rate(bank) == [Row("1.10", 3, 2, 1, 1, 0, ("<lambda>", "not_begun", "not_right_at_all"))]


def test_the_command_prints_the_table_and_fails_when_an_answer_gets_through(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests" / "wrong").mkdir(parents=True)
    bank = tmp_path / "tests" / "wrong" / "01.py"
    bank.write_text(
        "from mlcourse.checks.killrate import Bank\n"
        "bank = Bank()\n"
        "@bank.wrong('1.10', 'expected one number')\n"
        "def text(a, b, k):\n    return 'x'\n"
    )
    assert main(["01"]) == 0
    assert "1.10                  1       1        1              0         0\n" in capsys.readouterr().out
    bank.write_text(bank.read_text().replace("expected one number", "an essay"))
    assert main([]) == 1
    assert "not as it should be: text" in capsys.readouterr().out


def test_a_lesson_without_a_bank_and_a_bank_without_answers_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert main(["07"]) == 2
    assert "there is no tests/wrong/07.py here" in capsys.readouterr().err
    (tmp_path / "07.py").write_text("")
    with pytest.raises(ValueError, match="07.py has no `bank`. Begin it with `bank = Bank\\(\\)`"):
        load(tmp_path / "07.py")
