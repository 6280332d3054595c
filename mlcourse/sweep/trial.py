"""Jobs on standard input into executed notebooks and replies on standard output: the process that runs trials.

A worker process (`mlcourse.sweep.workers.Worker`) runs `main`. One line of JSON is one job (see `Job`), answered by
{"kernel": pid} when its kernel runs and {"status": ...} at its end:
"ok"; "failed" (a cell raised an error, or a limit was reached: the same would happen again); "died" (the kernel ended or
never answered: worth another attempt); "full" (no space on the disk). When standard input closes, because whoever reads the
answers has ended, the kernel is killed and the process ends.
"""

import ast
import contextlib
import json
import logging
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Any, NamedTuple

import papermill
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.translators import PythonTranslator, papermill_translators
from traitlets.config import Config

from mlcourse import repro
from mlcourse.sweep import kernels, parameters
from mlcourse.sweep.store import FULL

POLL_SECONDS = 0.2
SECONDS_TO_STOP = 3  # between the interrupt at the time limit, which leaves a traceback, and the end
SAVE_SECONDS = 2  # how often a notebook under way is written
START_SECONDS = 120


class Job(NamedTuple):
    """One trial as a worker gets it; every field is plain JSON."""

    notebook: dict
    given: dict[str, Any]
    folder: str  # an empty one of this worker; the executed notebook is `trial.ipynb` in it
    cwd: str  # working directory of the kernel; `folder` where this machine has no such folder
    seconds: float | None  # limit of the trial
    memory: float | None  # limit in GiB of resident memory, of the kernel and what it starts


class Watch:
    """Ends a kernel that reaches a limit, and remembers why."""

    def __init__(self, seconds: float | None, memory: float | None):
        self.seconds, self.memory = seconds, memory
        self.kernel: psutil.Process | None = None
        self.reason: str | None = None
        self.over = threading.Event()

    def start(self, pid: int) -> None:
        self.kernel = psutil.Process(pid)
        if self.seconds or self.memory:
            threading.Thread(target=self.look, daemon=True).start()

    def look(self) -> None:
        deadline = time.monotonic() + (self.seconds or float("inf"))
        while not self.over.wait(POLL_SECONDS):
            if self.memory and (used := self.gigabytes()) > self.memory:
                self.reason = f"memory limit: {used:.2f} GiB are more than {self.memory:g} GiB"
                return self.kill()
            if time.monotonic() > deadline:
                self.reason = f"time limit: not done after {self.seconds:g} s"
                self.kill(signal.SIGINT)
                self.over.wait(SECONDS_TO_STOP)
                return self.kill() if not self.over.is_set() else None

    def gigabytes(self) -> float:
        with contextlib.suppress(psutil.Error):
            family = [self.kernel, *self.kernel.children(recursive=True)]
            return sum(process.memory_info().rss for process in family) / 2**30
        return 0.0

    def kill(self, number: int = kernels.KILL) -> None:
        if self.kernel is not None and self.kernel.is_running():
            kernels.end(self.kernel.pid, number)


class Manager(AsyncKernelManager):
    """A kernel manager whose kernels come from the course's kernelspec, installed or not."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._kernel_spec = kernels.spec()


class Saving(NotebookExecutionManager):
    """papermill's record of an execution, which writes the notebook at most every two seconds.

    papermill writes it at the start and the end of each cell, 160 times for a lesson, which takes longer than a quick trial.
    """

    def save(self, **kwargs: Any) -> None:
        if kwargs.get("nb"):
            self.nb = kwargs["nb"]
        if (self.now() - self.last_save_time).total_seconds() >= SAVE_SECONDS:
            super().save()

    def notebook_complete(self, **kwargs: Any) -> None:
        super().notebook_complete(**kwargs)
        NotebookExecutionManager.save(self)


class Client(PapermillNotebookClient):
    """Runs the cells, then asks the kernel what it used."""

    def papermill_execute_cells(self) -> None:
        super().papermill_execute_cells()
        if not self.nb.metadata.papermill.exception:
            self.nb.metadata.mlcourse = {"kernel": self.ask({
                "cpu_seconds": "__import__('time').process_time()",
                "devices": "__import__('importlib').import_module('mlcourse.repro').devices() "
                           "if {'jax', 'torch'} & {*__import__('sys').modules} else []",
                "data": "__import__('importlib').import_module('mlcourse.repro').digests_of(globals()) "
                        "if 'mlcourse.data' in __import__('sys').modules else {}",
            })}  # fmt: skip

    def ask(self, expressions: dict[str, str]) -> dict[str, Any]:
        reply = self.wait_for_reply(self.kc.execute("", silent=True, store_history=False, user_expressions=expressions))
        answers = reply["content"].get("user_expressions", {})
        return {name: ast.literal_eval(said["data"]["text/plain"]) for name, said in answers.items() if said["status"] == "ok"}


class Engine(NBClientEngine):
    """papermill's engine with our manager of saving and our client."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, output_path: str | None = None, **kwargs: Any) -> Any:
        manager = Saving(nb, output_path=output_path, progress_bar=False)
        manager.notebook_start()
        options = {name: kwargs[name] for name in ("config", "iopub_timeout", "coalesce_streams", "store_widget_state")}
        options |= {"startup_timeout": START_SECONDS, "log": logging.getLogger("papermill")}
        client = Client(manager, kernel_name=kernel_name, **options)
        try:
            client.execute(env=kwargs["env"], cwd=kwargs["folder"])
        finally:
            manager.notebook_complete()
        return manager.nb


class Translator(PythonTranslator):
    """Every kind of value that a parameter can have is written as Python writes it; papermill has no tuples."""

    @classmethod
    def translate(cls, val: Any) -> str:
        return repr(val)


@contextlib.contextmanager
def kernel_settings(watch: Watch, started: Callable[[int], None]) -> Iterator[Config]:
    """Kernels that talk through Unix sockets, so that two can't take the same port, and that `watch` looks after."""

    class Watched(Manager):
        async def _async_start_kernel(self, **kwargs: Any) -> None:
            await super()._async_start_kernel(**kwargs)
            watch.start(self.provisioner.pid)
            started(self.provisioner.pid)

        start_kernel = _async_start_kernel

    settings = {"NotebookClient": {"kernel_manager_class": Watched}}
    if os.name == "nt":
        yield Config(settings)
        return
    folder = tempfile.mkdtemp(prefix="kernel-")
    current_folders.add(folder)
    try:
        yield Config(settings | {"KernelManager": {"transport": "ipc", "ip": os.path.join(folder, "k")}})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        current_folders.discard(folder)


current_folders: set[str] = set()  # of sockets, to be removed when the owner of this process is killed


def run(job: Job, started: Callable[[int], None]) -> dict:
    """Execute one trial.

    Returns:
        {"status", "error", "seconds", "notebook"}; "notebook" is the path of the file, executed as far as it went.
    """
    path = os.path.join(job.folder, "trial.ipynb")
    begun = time.perf_counter()
    watch = Watch(job.seconds, job.memory)
    reply: dict[str, Any] = {"status": "ok", "error": None}
    try:
        known = parameters.declared(job.notebook)
        given = {name: parameters.checked(known[name], value) for name, value in job.given.items()}
        os.makedirs(job.folder, exist_ok=True)
        source = os.path.join(job.folder, "source.ipynb")
        with open(source, "w", encoding="utf-8") as file:
            json.dump(job.notebook, file)
        # A progress table in the notebook shows a reader who begins, not what was solved on this machine.
        environment = os.environ | {"MLCOURSE_PROGRESS": os.path.join(job.folder, "progress.json")}
        with kernel_settings(watch, started) as config:
            papermill.execute_notebook(
                source, path, given, engine_name="mlcourse", kernel_name="python3", language="python", progress_bar=False,
                config=config, env=environment, folder=job.cwd if os.path.isdir(job.cwd) else job.folder, iopub_timeout=60,
                coalesce_streams=True, store_widget_state=False,
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        number = error.cell_index + 1
        if given and number > parameters.place(job.notebook) + 1:
            number -= 1  # papermill's own cell, with what is given, is not in the reader's notebook
        reply |= {"status": "failed", "error": f"cell {number}: {error.ename}: {error.evalue}"}
    except DeadKernelError:
        reply |= {"status": "died", "error": "its kernel died. Was the memory used up?"}
    except OSError as error:
        reply |= {"status": "full" if error.errno in FULL else "died", "error": str(error)}
    except Exception as error:  # whatever it is, it costs this attempt and nothing else
        reply |= {"status": "died", "error": f"{type(error).__name__}: {error}"}
    finally:
        watch.over.set()
    if watch.reason and reply["status"] != "full":
        reply |= {"status": "failed", "error": watch.reason}
    reply["seconds"] = round(time.perf_counter() - begun, 3)
    reply["notebook"] = path if os.path.exists(path) else None
    reply["manifest"] = manifest()
    return reply


def register() -> None:
    """Tell papermill and Jupyter of our engine, our way to write values, and our kernels, installed or not."""
    papermill_engines.register("mlcourse", Engine)
    papermill_translators.register("python", Translator)
    name, group = kernels.NAME, KernelProvisionerFactory.GROUP_NAME
    KernelProvisionerFactory.instance().provisioners[name] = EntryPoint(name, "mlcourse.sweep.kernels:Provisioner", group)


made: list[dict] = []


def manifest() -> dict:
    """What every result of this process rests on."""
    if not made:
        made.append(repro.manifest({}))
    return made[0]


def main() -> None:
    jobs, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # whatever else is printed is no answer
    logging.getLogger("papermill").setLevel(logging.ERROR)
    register()
    waiting: queue.Queue[Job] = queue.Queue()
    current: list[int] = []

    def read() -> None:
        for line in jobs:
            waiting.put(Job(**json.loads(line)))
        for pid in current:  # the owner has ended
            kernels.end(pid)
        for server in kernels.own_server:
            server.stop()
        for folder in current_folders.copy():
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    def answer(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def started(pid: int) -> None:
        current[:] = [pid]
        answer({"kernel": pid})

    threading.Thread(target=read, daemon=True).start()
    while True:
        job = waiting.get()
        reply = run(job, started)
        current.clear()
        answer(reply)
