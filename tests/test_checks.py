"""The check engine, the time limit, the progress file: what a reader is told, and that nothing is lost."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from mlcourse import checks
from mlcourse.checks import WrongAnswer, check, hint, values
from mlcourse.checks import engine as engine_module
from mlcourse.checks.engine import Exercise, Mistake, Property, Verdict, examine, exercises, find, listed, outcomes
from mlcourse.checks.progress import path, read, record, table
from mlcourse.checks.timelimit import TimeLimit, limited

EXERCISES = exercises()
IDS = [exercise.id for exercise in EXERCISES]


def double_cases():
    """Fresh inputs of the exercise used in these tests: double(x) = 2 x."""
    wide = np.arange(12, dtype=np.float32).reshape(2, 6)
    return {
        "plain": {"x": np.float32([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])},
        "every second column": {"x": wide[:, ::2]},
    }


DOUBLE = Exercise(
    id="9.1",
    name="double",
    title="Twice as much",
    minutes=1,
    difficulty=1,
    cases=double_cases,
    reference=lambda x: 2 * x,
    hints=("Multiply.",),
    mistakes=(
        Mistake("It was squared.", lambda x: x * x),
        Mistake("Added two.", lambda x: x + 2),
        Mistake("It was divided by nothing.", lambda x: 1 // 0),
    ),
    seconds=5.0,  # the first call of a framework compiles, which takes a second of work
)


@pytest.fixture(autouse=True)
def own_progress_file(monkeypatch, tmp_path):
    monkeypatch.setenv("MLCOURSE_PROGRESS", str(tmp_path / "progress.json"))


def baseline(train, validation, num_classes):
    """A right answer to exercise 1.10."""
    return -np.log((np.bincount(train, minlength=num_classes) / len(train))[validation]).mean()


def message(answer, exercise=DOUBLE):
    verdict = examine(exercise, answer)
    assert verdict.state == "wrong"
    return verdict.message


# Right, in any framework


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x + x,
        lambda x: np.add(x, x),
        lambda x: jnp.add(x, x),
        jax.jit(lambda x: jnp.multiply(2, x)),
        lambda x: torch.add(x, x),
        lambda x: torch.tensor(2.0, requires_grad=True) * x,
        lambda x: x.clone().add_(x),
        lambda x: x.at[:].multiply(2),
    ],
    ids="operators numpy jax jit torch gradient torch-methods jax-methods".split(),
)
def test_an_answer_in_any_framework_is_right(answer):
    assert examine(DOUBLE, answer) == Verdict("right", "Exercise 9.1 is right.")


def test_the_framework_is_the_one_that_a_helper_of_the_reader_names():
    def helper(x):
        return torch.as_tensor(x)

    def answer(x):
        return helper(x) * 2

    assert values.frameworks(answer)[0] == "torch"
    assert values.frameworks(lambda x: np.exp(jnp.sum(x)))[0] == "jax"
    assert values.frameworks(lambda x: x)[0] == "numpy"


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_short_numbers_are_compared_as_numbers(dtype):
    assert examine(DOUBLE, lambda x: 2 * jnp.asarray(x, dtype)).state == "right"
    assert examine(DOUBLE, lambda x: 2 * x.to(getattr(torch, dtype.__name__))).state == "right"


def test_inputs_that_run_backwards_reach_every_framework():
    exercise = DOUBLE._replace(cases=lambda: {"backwards": {"x": np.arange(3.0)[::-1]}})
    for answer in (lambda x: torch.mul(x, 2), lambda x: jnp.multiply(x, 2), lambda x: np.multiply(x, 2)):
        assert examine(exercise, answer).state == "right"


def test_a_random_key_is_no_number():
    assert "is a PRNGKeyArray, expected an array of shape (2, 3)" in message(lambda x: jax.random.key(0))


def test_a_class_can_be_the_answer_when_the_exercise_says_how_to_run_it():
    def run(answer, x):
        accumulator = answer()
        accumulator.add(x)
        accumulator.add(x)
        return accumulator.total

    class Accumulator:
        total = 0

        def add(self, x):
            self.total = self.total + jnp.asarray(x)

    class Forgetful(Accumulator):
        def add(self, x):
            self.total = x

    exercise = DOUBLE._replace(run=run, reference=Accumulator, mistakes=(Mistake("It forgets.", Forgetful),))
    assert examine(exercise, Accumulator).state == "right"

    class Mine:
        def __init__(self):
            self.total = 0

        def add(self, x):
            self.total = x

    assert "The mistake: It forgets." in message(Mine, exercise)


def test_what_the_reader_prints_is_shown(capsys):
    def answer(x):
        print("I am here")
        return 2 * x

    assert examine(DOUBLE, answer).state == "right"
    assert "I am here" in capsys.readouterr().out


# Not attempted


def stub(x):
    raise NotImplementedError("exercise 9.1: Twice as much")


def docstring_only(x):
    """Twice x."""


def only_dots(x): ...


def returns_dots(x):
    return ...


@pytest.mark.parametrize("answer", [stub, docstring_only, only_dots, returns_dots, None, ...])
def test_an_exercise_cell_left_empty_is_not_attempted(answer):
    verdict = examine(DOUBLE, answer)
    assert verdict.state == "not attempted"
    assert verdict.message == ('Exercise 9.1 is not attempted yet: write `double` and run its cell again. `hint("9.1")` helps.')


def test_a_library_that_lacks_something_is_not_a_stub():
    library = {}
    code = "def missing(*args):\n    raise NotImplementedError('not for this dtype')"
    exec(compile(code, "lib/site-packages/library.py", "exec"), library)
    assert "not for this dtype" in message(lambda x: library["missing"]())
    assert "not for this dtype" in message(library["missing"])  # the answer is the library's own function


# Wrong: type, shape, value, property, in this order


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x: None, "double(x) returned None. A function must end with `return` and the result."),
        (lambda x: "twice", "double(x) is the text 'twice', expected an array of shape (2, 3)."),
        (lambda x: [1, 2], "double(x) is a list, expected an array of shape (2, 3)."),
        (lambda x: {"y": x}, "double(x) is a dict, expected an array of shape (2, 3)."),
        (lambda x: (2 * x for _ in range(2)), "double(x) is a generator, expected an array of shape (2, 3)."),
        (lambda x: np.array(["a"]), "double(x) is an array of dtype <U1, expected an array of shape (2, 3)."),
        (lambda x: 2 * x[0], "double(x) has the shape (3,), expected (2, 3)."),
        (lambda x: 2 * x.sum(), "double(x) has the shape (), expected (2, 3)."),
        (
            lambda x: 2 * x + np.float32([[0, 0, 0], [0, np.nan, 1]]),
            "double(x) has the right shape (2, 3), but 2 of 6 values are wrong. The first is at [1, 1]: "
            "got nan, expected 10.0.",
        ),
    ],
)
def test_the_first_thing_that_is_wrong_is_said(answer, words):
    assert message(answer).splitlines()[1] == words


def test_the_message_shows_the_input_and_where_to_get_help():
    assert message(lambda x: 3 * x).splitlines() == [
        "Exercise 9.1 is not right yet.",
        "double(x) has the right shape (2, 3), but 6 of 6 values are wrong. The first is at [0, 0]: got 3.0, expected 2.0.",
        "The input that shows it (plain):",
        "    x = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], float32 of shape (2, 3)",
        'Stuck? `hint("9.1")` helps.',
    ]


def test_a_mistake_that_gives_the_same_on_every_input_is_named():
    verdict = examine(DOUBLE, lambda x: jnp.square(x))
    assert "\nThe mistake: It was squared.\n" in verdict.message
    assert verdict.mistake == "It was squared."


def test_a_mistake_that_gives_the_same_on_the_input_shown_is_a_guess():
    def only_on_the_first(x):
        return x * x if x[0, 0] == 1 else 7 * x

    assert "\nPerhaps: It was squared.\n" in message(only_on_the_first)
    assert "squared" not in message(lambda x: 7 * x if x[0, 0] == 1 else x * x)  # elsewhere, but not on the input shown


def test_a_mistake_nobody_knows_is_shown_without_a_name():
    verdict = examine(DOUBLE, lambda x: 7 * x)
    assert verdict.mistake is None
    assert "mistake" not in verdict.message and "Perhaps" not in verdict.message


def test_an_exception_is_reported_with_its_line_and_named_when_known():
    def answer(x):
        y = 2 * x
        return y / (1 // 0)

    text = message(answer)
    line = answer.__code__.co_firstlineno + 2
    assert f"`double` stopped with ZeroDivisionError: integer division or modulo by zero. It happened in line {line}" in text
    assert "`return y / (1 // 0)`" in text
    assert "The mistake: It was divided by nothing." in text


def test_another_signature_is_a_mistake_of_the_first_line():
    assert "Keep its first line as it was given" in message(lambda: 1)
    assert "takes 0 positional arguments but 1 was given" in message(lambda: 1)


def test_a_value_in_place_of_the_function_is_explained():
    assert 'Write `check("9.1", double)`, without brackets after the name.' in message(3.0)


def test_exit_in_an_answer_does_not_end_the_kernel():
    assert "stopped with SystemExit: 3" in message(lambda x: sys.exit(3))


@pytest.mark.parametrize("framework", [np, torch])
def test_a_changed_input_is_named_although_the_value_is_right(framework):
    def answer(x):
        framework.abs(x)
        x *= 2
        return x

    assert "`double` changed its input `x`" in message(answer)


def test_a_property_is_looked_at_after_the_values_and_its_words_are_the_mistake():
    exercise = DOUBLE._replace(
        compare="shapes",
        properties=(
            Property("Not the same twice.", lambda run, x: np.array_equal(run(x=x), run(x=x))),
            Property("It is negative.", lambda run, x: (run(x=x) >= 0).all()),
        ),
    )
    assert examine(exercise, lambda x: 5 * x).state == "right"
    assert examine(exercise, lambda x: -x).mistake == "It is negative."
    rng = np.random.default_rng(0)
    assert examine(exercise, lambda x: x * rng.random()).mistake == "Not the same twice."
    assert "has the shape (3,)" in message(lambda x: -x[0], exercise)


def test_an_exception_while_a_property_is_checked_is_the_readers():
    calls = []

    def answer(x):
        calls.append(1)
        return 2 * x if len(calls) < 4 else [][0]

    exercise = DOUBLE._replace(properties=(Property("-", lambda run, x: run(x=x) is not None),))
    assert "IndexError: list index out of range" in message(answer, exercise)


def test_trees_are_compared_leaf_by_leaf_and_keys_in_any_order():
    expected = {"a": np.ones(2), "b": [np.zeros(3), np.array(1.0)]}

    def first(got):
        return values.difference(got, expected, what="f()", rtol=1e-4, atol=1e-6)

    assert first({"b": [np.zeros(3), np.array(1.0)], "a": np.ones(2)}) is None
    assert first({"a": np.ones(2)}).words == "f() has the keys 'a', expected 'a', 'b'."
    assert first({"a": np.ones(2), "b": [np.zeros(3)]}).words == "f()['b'] has 1 parts, expected 2."
    assert first({"a": np.ones(2), "b": [np.zeros(3), np.array(2)]}).words == (
        "f()['b'][1] is one number, as it should be, but got 2, expected 1.0."
    )
    # a type that is wrong deep inside comes before a value that is wrong at the top
    assert first({"a": np.zeros(2), "b": [np.zeros(3), None]}).stage == "type"


def test_an_iterator_without_an_end_is_cut_off_and_named():
    def forever():
        while True:
            yield np.ones(2)

    exercise = DOUBLE._replace(run=lambda answer, x: listed(answer(x)), reference=lambda x: [np.ones(2)], mistakes=())
    assert "`double` does not end: it still went on after 100 items." in message(lambda x: forever(), exercise)
    assert listed(iter("abc")) == ["a", "b", "c"]
    assert listed(3) == 3


# Time


def endless(x):
    while True:
        pass


def endless_that_catches_everything(x):
    while True:
        try:
            sum(range(100))
        except BaseException:
            pass


@pytest.mark.parametrize("answer", [endless, endless_that_catches_everything])
@pytest.mark.parametrize("where", ["main thread", "other thread"])
def test_an_exercise_that_loops_for_ever_gets_a_message(answer, where):
    found = []
    exercise = DOUBLE._replace(seconds=0.2)
    work = threading.Thread(target=lambda: found.append(message(answer, exercise)))
    if where == "main thread":
        work.run()
    else:
        work.start()
        work.join()
    assert "`double` was stopped after 0.2 seconds of work" in found[0]
    assert "a loop that runs for ever" in found[0]


def test_an_endless_loop_in_compiled_code_cannot_be_stopped_but_the_reader_is_told():
    code = """
import jax
from mlcourse.checks import engine, timelimit

def cross_entropy(logits, labels):
    return jax.lax.while_loop(lambda value: value >= 0, lambda value: value + 1, jax.numpy.float32(0))

timelimit.GRACE = 0.3
engine.examine(engine.find("1.1")._replace(seconds=0.3), cross_entropy)
"""
    process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline() + process.stdout.readline()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert said.startswith(
        "Exercise 1.1 is not right yet.\n`cross_entropy` works for more than 0.3 seconds inside compiled code"
    )
    assert "Restart the kernel" in said and "the condition of the loop becomes False" in said


def test_one_that_is_stopped_in_time_is_not_called_stuck(monkeypatch, capsys):
    monkeypatch.setattr("mlcourse.checks.timelimit.GRACE", 1)
    assert "was stopped after 0.2 seconds" in message(endless, DOUBLE._replace(seconds=0.2))
    time.sleep(1.5)
    assert capsys.readouterr().out == ""


def test_one_that_sleeps_is_stopped_by_the_clock(monkeypatch):
    monkeypatch.setattr("mlcourse.checks.timelimit.PATIENCE", 1)
    start = time.monotonic()
    with pytest.raises(TimeLimit):
        limited(lambda: time.sleep(30), seconds=0.2)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("in_thread", [False, True])
def test_after_a_call_in_time_nothing_is_left_to_go_off(in_thread):
    before = signal.getsignal(signal.SIGALRM)

    def work():
        assert limited(lambda: 7, seconds=0.1) == 7
        with pytest.raises(KeyError):
            limited(lambda: {}["x"], seconds=0.1)
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        done.append(True)

    done = []
    thread = threading.Thread(target=work)
    if in_thread:
        thread.start()
        thread.join()
    else:
        work()
    assert done == [True]
    assert signal.getsignal(signal.SIGALRM) is before


# The public functions


def test_check_is_silent_but_for_one_line_when_right(capsys):
    check("1.10", baseline)
    assert capsys.readouterr().out == "Exercise 1.10 is right.\n"
    assert read()["1.10"]["passed"] is True


def test_check_raises_wrong_answer_and_remembers_the_mistake():
    for _ in range(2):
        with pytest.raises(WrongAnswer, match="This is log\\(num_classes\\), the loss of an equal guess"):
            check("1.10", lambda train, validation, k: np.log(k))
    entry = read()["1.10"]
    assert (entry["passed"], entry["attempts"], entry["first_passed"]) == (False, 2, None)
    assert [count for count in entry["mistakes"].values()] == [2]


def test_check_of_nothing_prints_a_line_and_is_not_a_try(capsys):
    check("1.10")
    assert capsys.readouterr().out.startswith("Exercise 1.10 is not attempted yet")
    assert read() == {}


def test_an_unknown_exercise_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown exercise '1.01'. Did you mean '1\.1"):
        check("1.01", endless)


def test_hints_rise_and_end_with_the_solution(capsys, monkeypatch):
    monkeypatch.setattr(checks, "_hints_given", {})
    for _ in range(4):
        hint("1.10")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Hint 3 of 3"]
    assert "under 'Exercise 1.10' in solutions/01_training_loop.ipynb" in lines[-1]
    assert lines[2] == lines[3] != lines[1]


def test_progress_of_a_lesson_without_checks_is_refused():
    with pytest.raises(ValueError, match="lesson=77, but no such lesson has checks. Known: 1"):
        checks.progress(77)


def test_in_a_notebook_only_the_message_of_a_wrong_answer_is_shown(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("from mlcourse.checks import check, progress"),
            nbformat.v4.new_code_cell("check('1.10', lambda a, b, k: 2.0)", metadata={"tags": ["raises-exception"]}),
            nbformat.v4.new_code_cell("progress(1)"),
        ]
    )
    NotebookClient(notebook, timeout=60).execute(cwd=str(tmp_path))
    error = notebook.cells[1].outputs[0]
    assert error.ename == "WrongAnswer"
    assert error.traceback == error.evalue.splitlines()
    assert error.traceback[0] == "Exercise 1.10 is not right yet."
    shown = notebook.cells[2].outputs[0].data
    assert re.search(r"1\.10 .* tried +1\n0 of 10 right\.$", shown["text/plain"])
    assert "<td>tried</td><td>1</td>" in shown["text/html"]


# The progress file


RIGHT, WRONG = Verdict("right", ""), Verdict("wrong", "", "a mistake")


def test_progress_counts_tries_up_to_the_first_right_one():
    for verdict in (WRONG, WRONG, RIGHT, WRONG, RIGHT):
        record("1.2", verdict)
    entry = read()["1.2"]
    assert (entry["passed"], entry["attempts"], entry["mistakes"]) == (True, 3, {"a mistake": 2})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry["first_passed"])
    states = {row.id: row.state for row in table(EXERCISES).rows}
    assert (states["1.2"], states["1.1"]) == ("right", "not attempted")


def test_the_table_is_the_same_whenever_it_is_shown():
    record("1.2", RIGHT)
    first = table(EXERCISES)
    time.sleep(0.01)
    record("1.2", RIGHT)
    assert repr(table(EXERCISES)) == repr(first)
    assert table(EXERCISES)._repr_html_() == first._repr_html_()
    assert repr(first).endswith(f"1 of {len(EXERCISES)} right.")
    assert "0x" not in repr(first) + first._repr_html_()


def test_the_file_stands_in_the_working_folder_unless_the_variable_names_another(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLCOURSE_PROGRESS")
    assert path() == tmp_path / "mlcourse_progress.json"
    monkeypatch.setenv("MLCOURSE_PROGRESS", "other.json")
    assert path() == tmp_path / "other.json"


@pytest.mark.parametrize("content", ["{", "[]", '{"exercises": {"1.1": 3}}', '{"exercises": []}', "\0"])
def test_a_damaged_file_is_reported_and_kept_under_another_name(content, capsys):
    for number in (1, 2):
        path().write_text(content)
        record("1.1", RIGHT)
        aside = path().with_name(f"progress_damaged_{number}.json")
        assert aside.read_text() == content
        said = capsys.readouterr().out
        assert "progress.json can't be read" in said and f"It was kept as {aside.name}" in said
        assert read()["1.1"]["passed"]


def test_a_file_that_cannot_be_written_is_said_and_the_check_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLCOURSE_PROGRESS", str(tmp_path / "missing" / "progress.json"))
    check("1.10", baseline)
    said = capsys.readouterr().out
    assert "Your progress was not saved: progress.json can't be written (No such file or directory)." in said
    assert "Exercise 1.10 is right." in said


def test_two_kernels_that_write_at_once_lose_nothing():
    code = (
        "import sys; from mlcourse.checks.progress import record; from mlcourse.checks.engine import Verdict\n"
        "for k in range(25):\n"
        "    record('1.1', Verdict('wrong', '', sys.argv[1]))\n"
        "    record(f'1.{sys.argv[1]}', Verdict('right', ''))"
    )
    kernels = [subprocess.Popen([sys.executable, "-c", code, number]) for number in ("2", "3")]
    assert [kernel.wait(timeout=60) for kernel in kernels] == [0, 0]
    kept = read()
    assert kept["1.1"]["attempts"] == 50
    assert kept["1.1"]["mistakes"] == {"2": 25, "3": 25}
    assert kept["1.2"]["passed"] and kept["1.3"]["passed"]
    assert [file.name for file in path().parent.iterdir()] == ["progress.json"]


def test_a_lock_that_nobody_gives_back_is_waited_for_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(sys.modules["mlcourse.checks.progress"], "STALE", 0.2)  # the name is also a function
    lock = path().with_name("progress.json.lock")
    lock.touch()
    os.utime(lock, (time.time() + 1000, time.time() + 1000))  # the clock of another machine
    record("1.1", RIGHT)
    assert read()["1.1"]["passed"]


def test_a_lock_left_by_a_dead_kernel_is_taken_over():
    lock = path().with_name("progress.json.lock")
    lock.touch()
    os.utime(lock, (0, 0))
    record("1.1", RIGHT)
    assert read()["1.1"]["passed"]
    assert not lock.exists()


# Every exercise of every lesson


@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_the_reference_is_right(exercise):
    assert examine(exercise, exercise.reference).state == "right"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow is one of the mistakes
@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_every_known_mistake_is_refused_and_named_by_its_own_words(exercise):
    for mistake in exercise.mistakes:
        verdict = examine(exercise, mistake.function)
        assert (verdict.state, verdict.mistake) == ("wrong", mistake.words)
        assert f"The mistake: {mistake.words}" in verdict.message


@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_cases_are_made_afresh_so_that_no_run_changes_another(exercise):
    one, two = exercise.cases(), exercise.cases()
    assert list(one) == list(two)
    arrays = []
    for cases in (one, two):
        values.tree_map(lambda leaf: arrays.append(leaf) if isinstance(leaf, np.ndarray) else None, cases)
    half = len(arrays) // 2
    assert not any(np.shares_memory(a, b) for a in arrays[:half] for b in arrays[half:])
    assert values.same(values.arrays_of(one), values.arrays_of(two), rtol=0, atol=0)


@pytest.mark.parametrize("exercise", EXERCISES, ids=IDS)
def test_an_exercise_says_what_it_costs_and_how_to_begin(exercise):
    assert 1 <= exercise.difficulty <= 3 and exercise.minutes > 0
    assert len(exercise.hints) >= 2
    assert find(exercise.id) is exercise
    assert len(outcomes(exercise, exercise.reference)) >= 3


def test_importing_the_checks_loads_no_framework():
    code = "import sys, mlcourse.checks as c; c.progress(); print({'jax', 'torch', 'IPython'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_lessons_are_found_by_their_name():
    folder = Path(engine_module.__file__).parent
    assert engine_module.lesson_modules() == [f"mlcourse.checks.{file.stem}" for file in sorted(folder.glob("lesson??.py"))]
