"""One student's notebook into its verdicts: run in a process of its own, on a copy, with limits, and watched from outside."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from mlcourse.report.box import Box

PACKAGES = str(Path(__file__).parent.parent.parent)
MARK = "MLCOURSE_SUBMISSION"  # a variable by which processes that were left over are known again
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "MLCOURSE_DATA", "OMP_NUM_THREADS", "SYSTEMROOT")
POLL_SECONDS = 0.1
MOST_BYTES = 20 * 2**20  # of verdicts
MOST_PROCESSES = 200


class Limits(NamedTuple):
    """What one notebook may use."""

    seconds: float = 600  # of the whole notebook
    cell_seconds: float = 120  # of each cell; then it is interrupted, and the next one runs
    memory: float = 4  # GiB, of its process and what that starts


class Answer(NamedTuple):
    """One exercise of one student: "right", "wrong", "not attempted" or "not reached"."""

    state: str
    message: str = ""
    mistakes: tuple[str, ...] = ()  # the known mistakes that were recognised on the way, and the last one in `message`


class Submission(NamedTuple):
    """What came out of a notebook. `problem` is None when it ran to its end."""

    student: str
    lesson: int | None
    answers: dict[str, Answer]
    errors: tuple[str, ...]  # of cells, apart from answers that are wrong
    problem: str | None
    seconds: float


def examine(path: Path, student: str, *, limits: Limits, box: Box, stop: threading.Event) -> Submission:
    """Run one notebook, until `stop` is set. Whatever it does, the result is a `Submission`."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="submission-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder, path.name)
        try:
            if path.is_symlink() or not path.is_file():
                raise OSError(0, "it is no ordinary file")
            shutil.copyfile(path, copy)
        except OSError as error:
            return Submission(student, None, {}, (), f"it can't be read: {error.strerror}", 0.0)
        lines, problem = watched(copy, limits, box, stop)
    return gathered(student, lines, problem, round(time.monotonic() - begun, 1))


def watched(copy: Path, limits: Limits, box: Box, stop: threading.Event) -> tuple[list[dict], str | None]:
    """The lines that the student's process told, and why it was stopped, or None."""
    mark = secrets.token_hex(8)
    home = str(copy.parent.resolve())
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
        MARK: mark, "HOME": home, "TMPDIR": home, "MPLBACKEND": "agg", "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1", "MLCOURSE_PROGRESS": str(Path(home, ".progress.json")),
    }  # fmt: skip
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [PACKAGES, environment.get("PYTHONPATH")]))
    ours, theirs = os.pipe()
    words = [sys.executable, "-m", "mlcourse.report.student", copy.name, str(theirs)]
    words += [str(limits.cell_seconds), str(limits.memory)]
    try:
        process = subprocess.Popen(
            box.command(copy.parent, words), cwd=home, env=environment, pass_fds=[theirs], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(theirs)
    told = bytearray()
    reader = threading.Thread(target=read, args=[ours, told], daemon=True)
    reader.start()
    try:
        problem = watch(process, limits, told, stop)
    finally:
        end(process, mark)
    reader.join(5)
    lines = []
    for line in bytes(told).split(b"\n"):
        with contextlib.suppress(ValueError):  # half a line, where it was killed
            lines.append(json.loads(line))
    if problem is None and process.returncode == 99 and not lines:
        problem = "its process could not be shut in"
    return [line for line in lines if isinstance(line, dict)], problem


def read(pipe: int, told: bytearray) -> None:
    with open(pipe, "rb", buffering=0) as file:
        while len(told) <= MOST_BYTES and (part := file.read(65536)):
            told += part


def watch(process: subprocess.Popen, limits: Limits, told: bytearray, stop: threading.Event) -> str | None:
    """Wait for the end of a process, or for the limit that it reaches first."""
    deadline = time.monotonic() + limits.seconds
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            return None
        family = children(process.pid)
        used = sum(memory(member) for member in family) / 2**30
        if used > limits.memory:
            return f"memory limit: {used:.2f} GiB are more than {limits.memory:g} GiB"
        if time.monotonic() > deadline:
            return f"time limit: not done after {limits.seconds:g} s"
        if stop.is_set():
            return "stopped"
        if len(family) > MOST_PROCESSES:
            return f"it started more than {MOST_PROCESSES} processes"
        if len(told) > MOST_BYTES:
            return f"it wrote more than {MOST_BYTES >> 20} MiB where its verdicts belong"


def children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True) + [psutil.Process(pid)]
    return []


def memory(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def end(process: subprocess.Popen, mark: str) -> None:
    """End a process and everything it started, also what has left its family."""
    family = children(process.pid)
    for member in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if member.environ().get(MARK) == mark:
                family.append(member)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    process.wait()


def gathered(student: str, lines: list[dict], problem: str | None, seconds: float) -> Submission:
    """What the lines of a process come to."""
    lesson, exercises, errors, last, ended = None, [], [], None, False
    verdicts: dict[str, list[dict]] = {}
    for line in lines:
        if "exercises" in line:
            lesson, exercises = line["lesson"], line["exercises"]
        elif "exercise" in line:
            verdicts.setdefault(line["exercise"], []).append(line)
        elif "error" in line:
            errors.append(line["error"])
        elif "refused" in line:
            problem = problem or line["refused"]
        last = line.get("cell", last)
        ended = ended or "end" in line
    if not ended and problem is None:
        problem = "its process ended before the notebook did"
    if not ended and last is not None:
        problem = f"{problem} (in cell {last})"
    elif ended and lesson is None:
        problem = 'it has no exercise of this course: no line such as check("1.1", ...)'
    answers = {key: answer(verdicts.get(key, []), ended) for key in sorted({*exercises, *verdicts}, key=number)}
    return Submission(student, lesson, answers, tuple(errors), problem, seconds)


def number(exercise: str) -> tuple[int, ...]:
    return tuple(int(part) for part in exercise.split("."))


def answer(verdicts: list[dict], ended: bool) -> Answer:
    """Right once is right; otherwise the last verdict counts. An answer that is gone was not attempted."""
    mistakes = tuple(verdict["mistake"] for verdict in verdicts if verdict["mistake"])
    if not verdicts:
        return Answer("not attempted" if ended else "not reached")
    best = next((verdict for verdict in verdicts if verdict["state"] == "right"), verdicts[-1])
    return Answer(best["state"], best["message"], mistakes)
