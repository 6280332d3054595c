"""The class report on made-up submissions, right and wrong, honest and not.

The notebooks are made from exercises/01, as students would: an answer in the place of the stub. They import NumPy where the
course imports JAX, which only saves time.
"""

import csv
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from mlcourse import __main__ as command_line
from mlcourse.report import box, command, page
from mlcourse.report.submission import Answer, Limits, Submission, examine, gathered

EXERCISES = Path(__file__).parent.parent / "exercises" / "01_training_loop.ipynb"
RIGHT = {
    "1.1": """shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()""",
    "1.3": """return {k: sgd(v, grads[k], learning_rate) if isinstance(v, dict) else v - learning_rate * grads[k]
            for k, v in params.items()}""",
}
OVERFLOWS = {
    "1.1": """e = np.exp(logits)
    return -np.log(e / e.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels].mean()"""
}
UNNAMED = {"1.1": "return 42.0"}


def handed_in(answers: dict[str, str], *first: str, last: tuple[str, ...] = ()) -> dict:
    """The exercise notebook with answers, and cells of the student's own after the imports and at the end."""
    notebook = json.loads(EXERCISES.read_text())
    cells = notebook["cells"]
    for cell in cells:
        source = "".join(cell["source"])
        found = re.search(r'^check\("([\d.]+)"', source, re.MULTILINE)
        if found and found[1] in answers:
            name = re.search(r"^def (\w+)", source, re.MULTILINE)[1]
            answer = answers[found[1]].replace("sgd(", f"{name}(")
            source, count = re.subn(r"raise NotImplementedError\(.*\)", lambda _, answer=answer: answer, source, count=1)
            assert count == 1
        cell["source"] = re.sub(r"^import jax.*\n", "", source, flags=re.MULTILINE).replace("jnp.", "np.")
    place = next(k for k, cell in enumerate(cells) if "import numpy" in cell["source"]) + 1
    cells[place:place] = [code(source) for source in first]
    cells += [code(source) for source in last]
    return notebook


def code(source: str) -> dict:
    return {
        "cell_type": "code",
        "id": f"c{abs(hash(source))}",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": 1,
    }


VANDAL = (
    "import os, shutil, socket, subprocess, sys, time\nfrom pathlib import Path",
    "for _ in range(1024):\n    print('x' * 2**20)",
    "shutil.rmtree(os.getcwd(), ignore_errors=True)",
    "for path in OUTSIDE:\n    try:\n        Path(path).unlink()\n    except OSError:\n        pass",
    "subprocess.Popen(['sleep', '987'], start_new_session=True)\nfor _ in range(3):\n    os.fork()",
    "socket.create_connection(('127.0.0.1', PORT), timeout=5)",
    "exit()",
    "raise SystemExit(1)",
)
CHEAT = """
import json, os
json.dump({"version": 1, "exercises": {"1.1": {"passed": True, "attempts": 1}}}, open(os.environ.get("MLCOURSE_PROGRESS"), "w"))
json.dump({"version": 1, "exercises": {"1.1": {"passed": True, "attempts": 1}}}, open("mlcourse_progress.json", "w"))
def check(exercise_id, answer=None):
    print(f"Exercise {exercise_id} is right.")
"""
STUBBORN = "import time\nwhile True:\n    try:\n        time.sleep(0.1)\n    except BaseException:\n        pass"


@pytest.fixture(scope="module")
def class_of(tmp_path_factory):
    """The rows of the report by student, what was printed, and the folders; run once, as it takes a while."""
    folder = tmp_path_factory.mktemp("class")
    submissions, outside = folder / "submissions", folder / "outside"
    submissions.mkdir()
    outside.mkdir()
    (outside / "mine").write_text("mine")
    server = socket.create_server(("127.0.0.1", 0))
    there = f"PORT, OUTSIDE = {server.getsockname()[1]}, {[str(outside / 'mine'), str(submissions / 'ada.ipynb')]}"
    made = {
        "ada": handed_in(RIGHT),
        "bob": handed_in(OVERFLOWS | {"1.3": RIGHT["1.3"]}, "1 / 0"),
        "cleo/work": handed_in(OVERFLOWS),
        "dan": handed_in(UNNAMED, last=("raise ValueError('=HYPERLINK(\"http://x\")<script>alert(1)</script>')",)),
        "vandal": handed_in(RIGHT, there, *VANDAL),
        "sleepy": handed_in(RIGHT, "import time\ntime.sleep(500)"),
        "stubborn": handed_in(RIGHT, last=(STUBBORN,)),
        "eater": handed_in(RIGHT, "import time\nmeal = np.ones(2**27)\ntime.sleep(100)"),
        "quitter": handed_in(RIGHT, last=("import os\nos._exit(0)", "after = 1")),
        "cheat": handed_in(OVERFLOWS, CHEAT),
        "other": {"cells": [code("1 + 1")], "metadata": {}, "nbformat": 4, "nbformat_minor": 5},
    }
    for name, notebook in made.items():
        path = submissions / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(notebook))
    (submissions / "text.ipynb").write_text("I did it, honestly")
    (submissions / "link.ipynb").symlink_to(outside / "mine")
    (submissions / ".ipynb_checkpoints").mkdir()
    (submissions / ".ipynb_checkpoints" / "ada-checkpoint.ipynb").write_text("{}")
    words = ["report", str(submissions), "--out", str(folder / "out"), "--workers", "2"]
    words += ["--cell-limit", "6", "--time-limit", "30", "--memory-limit", "0.9"]
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "mlcourse", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
        server.accept()  # nobody came
    server.close()
    rows: dict[str, dict[str, dict]] = {}
    with open(folder / "out" / "report.csv", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["student"], {})[row["exercise"]] = row
    return {"rows": rows, "said": done.stdout, "folder": folder, "seconds": time.monotonic() - begun}


def states(rows: dict[str, dict]) -> dict[str, str]:
    return {exercise: row["state"] for exercise, row in rows.items() if row["state"] != "not attempted"}


def test_who_solved_what_and_which_mistake_was_made_is_in_the_table(class_of):
    rows = class_of["rows"]
    assert states(rows["ada"]) == {"1.1": "right", "1.3": "right"}
    assert len(rows["ada"]) == 10 and {row["problem"] for row in rows["ada"].values()} == {""}
    assert states(rows["bob"]) == {"1.1": "wrong", "1.3": "right"}
    assert "Subtract the largest logit" in rows["bob"]["1.1"]["mistakes"]
    assert rows["bob"]["1.1"]["errors"].startswith("cell 4: ZeroDivisionError: division by zero"), (
        "an error costs its cell only"
    )
    assert states(rows["cleo/work"]) == {"1.1": "wrong"}
    assert rows["dan"]["1.1"]["mistakes"] == "" and "expected" in rows["dan"]["1.1"]["message"]
    assert rows["ada"]["1.1"]["title"] == "Cross-entropy that does not overflow"


def test_what_a_student_claims_counts_for_nothing(class_of):
    assert states(class_of["rows"]["cheat"]) == {"1.1": "wrong"}, "neither a progress file nor another `check` helps"


def test_a_notebook_that_misbehaves_costs_nothing_but_its_own_rows(class_of):
    rows = class_of["rows"]
    assert states(rows["vandal"]) == {"1.1": "right", "1.3": "right"}, "it went on after each of its cells"
    errors = rows["vandal"]["1.1"]["errors"]
    assert "SystemExit" in errors and ("Network is unreachable" in errors or "the network is off" in errors)
    assert states(rows["sleepy"]) == {"1.1": "right", "1.3": "right"}
    assert "stopped after 6 s" in rows["sleepy"]["1.1"]["errors"]
    assert states(rows["stubborn"]) == {"1.1": "right", "1.3": "right"}, "what it had solved before"
    assert re.match(r"time limit: not done after 30 s \(in cell \d+\)", rows["stubborn"]["1.1"]["problem"])
    assert re.match(r"memory limit: \d.\d\d GiB are more than 0.9 GiB \(in cell 4\)", rows["eater"]["1.1"]["problem"])
    assert {row["state"] for row in rows["eater"].values()} == {"not reached"}
    assert states(rows["quitter"]) == {"1.1": "right", "1.3": "right"} | {
        exercise: "not reached"
        for exercise in rows["quitter"]
        if exercise not in RIGHT and rows["quitter"][exercise]["state"] != "not attempted"
    }
    assert "its process ended before the notebook did (in cell" in rows["quitter"]["1.1"]["problem"]
    assert rows["text"][""]["problem"].startswith("it is no notebook (JSONDecodeError")
    assert rows["link"][""]["problem"] == "it can't be read: it is no ordinary file"
    assert rows["other"][""]["problem"].startswith("it has no exercise of this course")
    assert len(rows) == 13, "Jupyter's own copies are left out"


def test_nothing_is_left_running_and_nothing_outside_was_touched(class_of):
    left = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "987"]]
    assert left == []
    submissions = class_of["folder"] / "submissions"
    assert json.loads((submissions / "vandal.ipynb").read_text())
    if box.best().name == "files":
        assert (class_of["folder"] / "outside" / "mine").read_text() == "mine" and (submissions / "ada.ipynb").exists()


def test_the_page_counts_the_mistakes_and_trusts_no_text(class_of):
    text = (class_of["folder"] / "out" / "report.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    found = re.search(
        r"<td class=''>1\.1</td>.*?Subtract the largest logit.*?<td class=''>(\d)</td><td class=''>([^<]*)</td>", text
    )
    assert found.groups() == ("3", "bob, cheat, cleo/work")
    assert "wrong in a way without a name" in text
    assert "http" not in re.sub(r"http://x", "", text), "one file, no network"
    said = class_of["said"]
    assert "13 notebooks, 6 with a problem. Each ran with: " in said and box.best().words in said
    assert "  1.1, 3 students: exp(1000) is infinite" in said


def test_a_folder_without_notebooks_a_bad_limit_or_a_system_without_limits_is_refused(tmp_path, capsys, monkeypatch):
    assert command_line.main(["report", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no notebooks" in capsys.readouterr().err
    assert command_line.main(["report", str(tmp_path), "--memory-limit", "0"]) == 2
    assert "must be positive" in capsys.readouterr().err
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert command_line.main(["report", str(tmp_path)]) == 2
    assert "on Windows run it in WSL" in capsys.readouterr().err


def test_without_namespaces_processes_are_ended_too_and_connections_refused(tmp_path):
    cells = [
        "import os, socket, subprocess",
        "from mlcourse.checks import check",
        "socket.create_connection(('127.0.0.1', 9))",
        "if not os.fork():\n    os.setsid()\n    os.execvp('sleep', ['sleep', '986'])",
        "def cross_entropy(logits, labels):\n    return None\ncheck('1.1', cross_entropy)",
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [code(cell) for cell in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    one = examine(path, "a", limits=Limits(60, 20, 2), box=box.BOXES[-1], stop=threading.Event())
    assert one.problem is None and one.answers["1.1"].state in ("wrong", "not attempted")
    assert one.errors == ("cell 3: PermissionError: the network is off while notebooks are marked",)
    assert [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "986"]] == []


def test_ctrl_c_stops_the_notebooks_too(tmp_path):
    path = tmp_path / "in" / "a.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps(handed_in({}, f"open('begun', 'w')\n{STUBBORN}")))
    stop = threading.Event()
    threading.Timer(3, stop.set).start()
    begun = time.monotonic()
    one = examine(path, "a", limits=Limits(300, 300, 2), box=box.best(), stop=stop)
    assert one.problem.startswith("stopped") and time.monotonic() - begun < 60


def test_half_a_line_and_lies_in_the_pipe_are_no_accident():
    lines = [{"lesson": 1, "exercises": ["1.2", "1.10"]}, {"cell": 3}]
    verdict = {"exercise": "1.2", "mistake": None, "message": "m"}
    lines += [verdict | {"state": "wrong", "mistake": "slip"}, verdict | {"state": "right"}, verdict | {"state": "wrong"}]
    one = gathered("a", lines, None, 1.0)
    assert one.problem == "its process ended before the notebook did (in cell 3)"
    assert list(one.answers) == ["1.2", "1.10"], "in the order of the lesson"
    assert one.answers["1.2"] == Answer("right", "m", ("slip",)), "right once is right, and the mistakes on the way are kept"
    assert one.answers["1.10"].state == "not reached"
    assert gathered("a", [*lines, {"end": True}], None, 1.0).answers["1.10"].state == "not attempted"


def test_mistakes_are_counted_by_student_and_the_most_frequent_comes_first():
    wrong = lambda *words: Answer("wrong", "m", words)  # noqa: E731
    ones = [
        Submission("a", 1, {"1.1": wrong("x", "x"), "1.2": wrong()}, (), None, 1.0),
        Submission("b", 1, {"1.1": wrong("y"), "1.2": wrong()}, (), None, 1.0),
    ]
    assert page.mistakes(ones) == [("1.2", "", ["a", "b"]), ("1.1", "x", ["a"]), ("1.1", "y", ["b"])]


def test_a_box_that_does_not_work_is_not_taken(monkeypatch):
    monkeypatch.setattr(box.shutil, "which", lambda name: None)
    assert [box.works(one) for one in box.BOXES] == [False, False, True]
