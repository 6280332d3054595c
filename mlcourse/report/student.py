"""A student's notebook into lines of JSON: one for each answer that was checked. This process runs the student's code.

Each line goes through a pipe that was open before the first cell ran. `check` in the notebook is ours: it examines the answer
afresh and tells the verdict; what a progress file or a stored output says counts for nothing. When all cells have run, an
exercise whose `check` never came here is examined by the name that it gives its answer.

A student who sets out to deceive this process can, as everything here is in reach of the code that it runs. It is made for
mistakes, accidents and shortcuts.
"""

import contextlib
import importlib
import json
import os
import re
import resource
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from mlcourse import checks
from mlcourse.checks import engine

CHECK = re.compile(r"""^\s*check\(\s*["'](\d+)\.\d+["']""", re.MULTILINE)
SHOWN = 2000  # letters of a message, at most
OWN = os.getpid()


def teller(pipe: int) -> Callable[..., None]:
    """A function that writes one line. In a process that the notebook has forked off it does nothing."""

    def tell(**fields: Any) -> None:
        line = json.dumps(fields).encode() + b"\n"
        while line and os.getpid() == OWN:
            line = line[os.write(pipe, line) :]

    return tell


def judge(tell: Callable[..., None], judged: set[str]) -> Callable[..., None]:
    """`mlcourse.checks.check` for this process: it tells the verdict, and does otherwise what students know."""
    examine, find = engine.examine, engine.find

    def check(exercise_id: str, answer: Any = None) -> None:
        verdict = examine(find(exercise_id), answer)
        judged.add(exercise_id)
        tell(exercise=exercise_id, state=verdict.state, mistake=verdict.mistake, message=verdict.message[:SHOWN])
        if verdict.state == "wrong":
            raise engine.WrongAnswer(verdict.message) from None
        print(verdict.message)

    return check


class Alarm:
    """Interrupts the main thread when a cell takes too long, and again each second until it ends."""

    def __init__(self, seconds: float):
        self.seconds, self.deadline = seconds, float("inf")
        self.turn = threading.Lock()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a command in the background has inherited to ignore it
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        while True:
            time.sleep(0.05)
            with self.turn:
                if time.monotonic() > self.deadline:
                    self.deadline = time.monotonic() + 1
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def run(self, call: Callable[[], Any]) -> str | None:
        """What went wrong in the call, in words, or None."""
        begun = time.monotonic()
        self.deadline = begun + self.seconds
        try:
            result = call()
            error = result.error_before_exec or result.error_in_exec
        except BaseException as raised:  # whatever a notebook does, the next cell is run
            error = raised
        finally:
            with contextlib.suppress(KeyboardInterrupt):  # one that was under way
                with self.turn:
                    self.deadline = float("inf")
                time.sleep(0.001)
        if isinstance(error, KeyboardInterrupt) and time.monotonic() - begun >= self.seconds:
            return f"stopped after {self.seconds:g} s"
        if error is None or isinstance(error, engine.WrongAnswer):
            return None
        return f"{type(error).__name__}: {error}"[:SHOWN]


def no_network(event: str, arguments: tuple) -> None:
    """An audit hook; it can't be taken away again. Sockets within the machine's file system stay allowed."""
    if event in ("socket.connect", "socket.bind", "socket.sendto") and not isinstance(arguments[1], str | bytes):
        raise PermissionError("the network is off while notebooks are marked")
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError("the network is off while notebooks are marked")


def set_limits(memory: float) -> None:
    """The system's own limits, behind those that the watching process holds."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 2**30,
        resource.RLIMIT_DATA: int((memory + 2) * 2**30),  # address space is reserved generously by the frameworks
    }
    for name, value in limits.items():
        _, most = resource.getrlimit(name)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(name, (value, value))


def cells_of(path: str) -> list[tuple[int, str]]:
    """Number, counted as a reader counts all cells, and source of each code cell.

    Raises:
        ValueError: it is no notebook.
    """
    with open(path, encoding="utf-8") as file:
        try:
            cells = json.load(file)["cells"]
            sources = [(k, cell["cell_type"], "".join(cell["source"])) for k, cell in enumerate(cells, start=1)]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it is no notebook ({type(error).__name__}: {error})"[:300]) from None
    return [(number, source) for number, kind, source in sources if kind == "code"]


def run(path: str, tell: Callable[..., None], seconds: float) -> None:
    """Run every cell and check what was not checked."""
    try:
        cells = cells_of(path)
    except (ValueError, OSError) as error:
        tell(refused=str(error))
        return
    lessons = Counter(int(lesson) for _, source in cells for lesson in CHECK.findall(source))
    known = [exercise for lesson in lessons for exercise in engine.exercises(lesson)]
    tell(lesson=lessons.most_common(1)[0][0] if known else None, exercises=sorted({exercise.id for exercise in known}))
    judged: set[str] = set()
    checks.check = judge(tell, judged)
    shell = new_shell()
    alarm = Alarm(seconds)
    for number, source in cells:
        tell(cell=number)
        if problem := alarm.run(lambda source=source: shell.run_cell(source, store_history=True)):
            tell(error=f"cell {number}: {problem}")
        if os.getpid() != OWN:
            os._exit(0)
    for exercise in known:
        if exercise.id not in judged and exercise.name in shell.user_ns:
            alarm.run(lambda exercise=exercise: judge(tell, judged)(exercise.id, shell.user_ns[exercise.name]))
    tell(end=True)


def new_shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def _tee(self, channel: str) -> contextlib.AbstractContextManager:
            """Keep no copy of what is printed, as IPython 9 does: it may be a gigabyte."""
            return contextlib.nullcontext()

    settings = {"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "NoColor", "xmode": "Minimal"}}
    return Shell.instance(config=Config(settings))


def main(argv: list[str]) -> None:
    path, pipe, seconds, memory = argv
    tell = teller(int(pipe))
    try:
        set_limits(float(memory))
        importlib.import_module("IPython.core.interactiveshell")
        sys.addaudithook(no_network)
        run(path, tell, float(seconds))
    except BaseException:
        tell(refused=f"it could not be run: {traceback.format_exc()[-SHOWN:]}")
    os._exit(0)  # whatever threads or exit functions the notebook has left behind


if __name__ == "__main__":
    main(sys.argv[1:])
