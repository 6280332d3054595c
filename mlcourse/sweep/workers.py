"""Jobs into replies: by worker processes on this machine, or by the workers of a Dask cluster."""

import contextlib
import importlib.util
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlcourse.sweep import kernels
from mlcourse.sweep.parameters import SweepError

SECONDS_TO_REACH = 20
GRACE = 60  # seconds beyond its time limit after which a trial's worker is taken for dead
# jupyter-events brings a package that compiles 35 parsers, for a second, when `jsonschema` is imported; nothing here uses it.
CODE = "import sys; sys.modules['rfc3987_syntax'] = None; from mlcourse.sweep.trial import main; main()"
CACHE = "JAX_COMPILATION_CACHE_DIR"
CACHE_BYTES = 2 * 2**30
HALF_WRITTEN = 10  # seconds: a cached program as young as this when its kernel was killed may be incomplete


NOTHING = {"seconds": None, "notebook": None, "manifest": {}}  # of a reply, when nobody replied


class SweepStopped(RuntimeError):
    """The sweep can't go on; what is done is kept, and the same command goes on later."""


class Worker:
    """A process that runs trials one after another, started when the first comes and again when it died."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment = folder, environment
        self.process: subprocess.Popen | None = None
        self.kernel: int | None = None
        self.stopped = False

    def run(self, job: dict, retries: int) -> dict:
        """The reply to a job, after as many attempts as it takes and `retries` allows.

        Its "notebook" is the text of the executed notebook, as far as it came, or None.
        """
        for number in range(1, retries + 2):
            reply = self.attempt(job | {"folder": str(self.folder)}) | {"attempts": number}
            if reply["status"] != "ok":
                forget_half_written(self.environment)
            if reply["status"] != "died" or self.stopped:
                break
        if reply["status"] == "died":
            reply |= {"status": "failed", "error": f"{reply['error']} ({reply['attempts']} attempts)"}
        path = reply["notebook"]
        return reply | {"notebook": path and Path(path).read_text(encoding="utf-8")}

    def attempt(self, job: dict) -> dict:
        if self.process is None or self.process.poll() is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.process = self.start()
        for child in self.folder.iterdir():
            if child.name != "messages":
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        process, self.kernel = self.process, None
        alarm = threading.Timer((job["seconds"] or 0) + GRACE, process.kill)
        if job["seconds"]:
            alarm.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "status" in message:
                    return message
                self.kernel = message["kernel"]
        except ValueError:  # half a line: it died while it wrote
            pass
        finally:
            alarm.cancel()
        return self.dead(process)

    def start(self) -> subprocess.Popen:
        with open(self.folder / "messages", "w") as messages:
            return subprocess.Popen(
                [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages,
                text=True, encoding="utf-8", env=self.environment, start_new_session=True,
            )  # fmt: skip

    def dead(self, process: subprocess.Popen) -> dict:
        """The reply of a worker that died: what is left of its notebook, and no kernel."""
        code = process.wait()
        self.end_kernel()
        path = self.folder / "trial.ipynb"
        messages = (self.folder / "messages").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        error = ": ".join([f"its worker process died with code {code}", *messages[-1:]])
        notebook = str(path) if path.exists() else None
        return NOTHING | {"status": "died", "error": error, "notebook": notebook}

    def end_kernel(self) -> None:
        if self.kernel is not None:
            kernels.end(self.kernel)

    def stop(self) -> None:
        """End the process and its kernel now."""
        self.stopped = True
        if self.process is None:
            return
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # then it kills its kernel and ends
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.end_kernel()


def cache_settings(folder: Path) -> dict[str, str]:
    """Variables by which JAX keeps compiled programs in a folder, so that a sweep compiles each once.

    JAX writes a program in place; with a size limit it locks the folder, and nobody reads half a program.
    """
    settings = {
        CACHE: str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if importlib.util.find_spec("filelock"):
        settings["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(CACHE_BYTES)
    return settings


def forget_half_written(environment: dict[str, str]) -> None:
    """Remove the youngest cached programs: a kernel that was killed may have been writing one."""
    for path in Path(environment.get(CACHE, os.devnull)).glob("*-cache"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < HALF_WRITTEN:
                path.unlink()


def run_local(
    jobs: dict[int, dict], *, workers: int, retries: int, folder: Path, environment: dict[str, str]
) -> Iterator[tuple[int, dict]]:
    """The number of each job with its reply, as they end; when the iterator is closed, what runs is stopped."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    replies: queue.SimpleQueue = queue.SimpleQueue()
    for item in jobs.items():
        waiting.put(item)
    crew = [Worker(folder / str(number), environment) for number in range(min(workers, len(jobs)))]

    def work(worker: Worker) -> None:
        with contextlib.suppress(queue.Empty):
            while not worker.stopped:
                number, job = waiting.get_nowait()
                try:
                    replies.put((number, worker.run(job, retries)))
                except Exception as error:  # raised where it is read
                    replies.put((number, error))
                    return

    threads = [threading.Thread(target=work, args=[worker], daemon=True) for worker in crew]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            number, reply = replies.get()
            if isinstance(reply, Exception):
                raise reply
            yield number, reply
    finally:
        for worker in crew:
            worker.stopped = True
        for worker in crew:
            worker.stop()


# Dask

mine = threading.local()  # the worker process of each thread of a Dask worker


def dask_trial(job: dict, retries: int) -> dict:
    """What a Dask worker does with a job: the same as this machine would, in a folder of its own."""
    modules = ",".join(kernels.imported(job["notebook"]))
    if getattr(mine, "modules", None) != modules:
        if hasattr(mine, "worker"):
            mine.worker.stop()
        mine.modules, mine.folder = modules, tempfile.TemporaryDirectory(prefix="mlcourse-trial-")
        environment = os.environ | {kernels.PRELOAD: modules}
        if CACHE not in environment:
            environment |= cache_settings(Path(mine.folder.name, "jax"))
        mine.worker = Worker(Path(mine.folder.name, "trial"), environment)
    return mine.worker.run(job, retries)


@contextlib.contextmanager
def connected(scheduler: str | None) -> Iterator[Any]:
    """A client of the Dask scheduler at that address, or None without an address.

    Raises:
        SweepError: `distributed` is not installed, or nobody answers.
    """
    if scheduler is None:
        yield None
        return
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise SweepError("--scheduler needs the package distributed: pip install 'mlcourse[cluster]'.") from None
    try:
        client = Client(scheduler, timeout=SECONDS_TO_REACH, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SweepError(
            f"no Dask scheduler answers at {scheduler} ({error}). Start one with `dask scheduler`, and workers with "
            f"`dask worker {scheduler}`."
        ) from None
    with client:
        yield client


def run_dask(jobs: dict[int, dict], *, client: Any, retries: int) -> Iterator[tuple[int, dict]]:
    """The number of each job with its reply, from the workers of a Dask cluster.

    A trial whose Dask worker dies is given to another one; one that is lost with more workers than the scheduler allows
    (`distributed.scheduler.allowed-failures`, 3) fails.

    Raises:
        SweepStopped: the cluster gave up a trial, for example because the scheduler ended.
    """
    from distributed import KilledWorker, as_completed

    run = f"{os.getpid()}-{time.time_ns()}"  # Dask remembers results by key; this sweep wants none of an earlier one
    futures = {
        client.submit(dask_trial, job, retries, key=f"trial-{number}-{run}", pure=False): number for number, job in jobs.items()
    }
    try:
        for future in as_completed(list(futures), loop=client.loop):
            number = futures.pop(future)
            try:
                reply = future.result()
            except KilledWorker:
                reply = NOTHING | {"status": "failed", "error": "every Dask worker that ran it died", "attempts": None}
            except Exception as error:
                raise SweepStopped(f"the Dask cluster gave up trial {number}: {error!r}. What is done is kept.") from None
            future.release()  # a result that lived in a worker that dies later would be computed again
            yield number, reply
    finally:
        client.cancel(list(futures))
