"""Rows of numbers, files and a manifest into a tracked run: Trackio, TensorBoard or Weights & Biases, through one interface.

    with tracking.start("digits", "sgd", {"learning_rate": 0.1, "seed": 0}) as run:
        state, history = train(step, state, batches, num_steps=600, tracker=run)
        run.save("model.safetensors", kind="model")

A run is called with rows as `mlcourse.train.train` makes them; a history that is there already goes in by
`run.log_history(rows)`. Trackio and TensorBoard write files on this machine and ask nobody; W&B does so too, unless
WANDB_MODE says otherwise.
"""

import argparse
import contextlib
import contextvars
import hashlib
import importlib.util
import io
import json
import math
import os
import re
import secrets
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from mlcourse import repro
from mlcourse.errors import unknown_name

Row = dict[str, float]
NAMES = {"project": re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"), "run": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")}
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as Trackio writes them


class TrackingError(RuntimeError):
    """A run can't be tracked as it was asked for; nothing was written."""


class Writer(NamedTuple):
    """What a backend does."""

    log: Callable[[Row, int], None]
    save: Callable[[Path, str, str, bool], None]  # file, name, kind, whether its content is copied
    finish: Callable[[bool], None]  # whether the run ended well


class Run:
    """An open run; made by `start`. Calling it with a row logs the row."""

    def __init__(self, name: str, folder: Path, writer: Writer):
        self.name, self.folder, self.writer = name, folder, writer
        self.artifacts: list[dict] = []

    def __call__(self, row: Row) -> None:
        """Log one row: "step" says where it belongs, the other entries are metrics.

        Raises:
            TrackingError: the row has no whole number "step", or a metric that is not a number.
        """
        step = row.get("step")
        if not isinstance(step, int | float) or step != int(step):
            raise TrackingError(f"the row {row} has no whole number 'step'. Log rows such as {{'step': 1, 'loss': 0.5}}.")
        try:
            metrics = {name: float(value) for name, value in row.items() if name != "step"}
        except (TypeError, ValueError):
            raise TrackingError(f"the row {row} holds something that is no number. Save texts and arrays as files.") from None
        self.writer.log(metrics, int(step))

    def log_history(self, rows: Iterable[Row]) -> None:
        """Log all rows of a history, for example that of `train_compiled` or of one run of `train_many`."""
        for row in rows:
            self(row)

    def save(self, path: str | os.PathLike, *, kind: str = "file", copy: bool = True) -> str:
        """Keep a file with the run, and return the SHA-256 of its content.

        Args:
            kind: a word such as "model", "data" or "notebook".
            copy: keep the content; with False only the place and the checksum are kept.

        Raises:
            FileNotFoundError: there is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file, so run {self.name!r} can't keep it. Write it before `run.save`.")
        sha256 = digest(path)
        self.writer.save(path, re.sub(r"[^A-Za-z0-9._-]+", "-", path.name), kind, copy)
        self.artifacts.append({"name": path.name, "kind": kind, "sha256": sha256, "path": str(path.resolve())})
        return sha256


@contextlib.contextmanager
def start(
    project: str,
    name: str,
    config: dict[str, Any] | None = None,
    *,
    backend: str = "trackio",
    folder: str | os.PathLike | None = None,
    data: dict[str, str] | None = None,
    key: str | None = None,
    manifest: dict | None = None,
) -> Iterator[Run]:
    """A run that is open as long as the block runs.

    Its manifest (see `mlcourse.repro.manifest`) is on the disk before the block begins, so that a run which is killed at once
    is seen too. Trackio writes rows every half second: a kill costs the rows of the last half second, an exception none.

    Args:
        project: what belongs on one page of the dashboard.
        name: of the run. Something is added that makes it unique, such as `sgd-1f0c9a2b`.
        config: every setting of the run, the seed among them, as plain JSON values.
        backend: "trackio", "tensorboard" or "wandb".
        folder: where it writes. By default that of the variable TRACKIO_DIR for Trackio; else `runs/trackio`,
            `runs/tensorboard` or `runs/wandb` in the repository, or in the working folder outside one.
        data: name -> digest of each data set, for the manifest.
        key: a text that stands for this run, such as a path and a time. The same key gives the same name, and Trackio then goes
            on with that run; by default every run is a new one.
        manifest: what the run rests on, where it is not this process.

    Raises:
        TrackingError: an unknown or missing backend, a name that can't be one, a config that is not JSON.

    Built in lesson 08.
    """
    config = checked(project, name, config or {})
    if backend not in BACKENDS:
        raise TrackingError(unknown_name("backend", backend, BACKENDS))
    target = Path(folder).absolute() if folder is not None else default_folder(backend)
    unique = unique_name(name, secrets.token_hex(16) if key is None else key)
    started = time.time()
    made = repro.manifest(config, data=data) if manifest is None else manifest
    run = Run(unique, target, BACKENDS[backend](project, unique, config, target))
    save_manifest(run, made | {"status": "running"})
    status = "finished"
    try:
        yield run
    except BaseException as error:
        status = f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        seconds = made["seconds"] if made.get("seconds") is not None else round(time.time() - started, 3)
        save_manifest(run, made | {"seconds": seconds, "status": status, "artifacts": run.artifacts})
        run.writer.finish(status == "finished")


def unique_name(name: str, key: str) -> str:
    """The name that a run gets.

    >>> unique_name("sgd", "my only one")
    'sgd-52495796'
    """
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def checked(project: str, name: str, config: dict) -> dict:
    """The config as JSON gives it back.

    >>> checked("digits", "sgd", {"hidden": (128, 64)})
    {'hidden': [128, 64]}
    """
    for what, word in (("project", project), ("run", name)):
        if not NAMES[what].fullmatch(word):
            raise TrackingError(f"{word!r} can't name a {what}: use letters, digits, `_` and `-`, such as 'digits'.")
    try:
        plain = json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise TrackingError(f"the config is not plain JSON ({error}). Give numbers, texts, None, lists or dicts.") from None
    if hidden := [key for key in plain if key.startswith("_")]:
        raise TrackingError(f"the config has the key {hidden[0]!r}; names that begin with _ are the tracker's own. Rename it.")
    return plain


def default_folder(backend: str = "trackio") -> Path:
    """`runs/BACKEND` at the top of the repository, so that lessons and sweeps share one dashboard wherever they run."""
    if backend == "trackio" and os.environ.get("TRACKIO_DIR"):
        return Path(os.environ["TRACKIO_DIR"]).absolute()
    here = Path.cwd()
    top = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    return top / "runs" / backend


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_manifest(run: Run, manifest: dict) -> None:
    with tempfile.TemporaryDirectory(prefix="manifest-") as folder:
        path = Path(folder, "manifest.json")
        path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        run.writer.save(path, f"{run.name}.manifest", "manifest", True)


# Backends: (project, run's name, config, folder) -> Writer


def trackio_writer(project: str, name: str, config: dict, folder: Path) -> Writer:
    trackio = trackio_in(folder)
    import huggingface_hub

    run = None
    # In a context of its own, `init` neither ends another open run nor leaves one behind. Offline, because it would ask the Hub
    # who the user is wherever a token lies on the machine.
    with mock.patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", True), quiet():
        run = contextvars.Context().run(
            trackio.init, project, name, config=config, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )

    def save(path: Path, name: str, kind: str, copy: bool) -> None:
        artifact = trackio.Artifact(name, kind)
        artifact.add_file(path) if copy else artifact.add_reference(path.resolve().as_uri())
        run.log_artifact(artifact)

    def finish(well: bool) -> None:
        with quiet():
            run.finish()

    return Writer(lambda metrics, step: run.log(metrics, step=step), save, finish)


def trackio_in(folder: Path) -> Any:
    """The trackio package, writing to that folder.

    Raises:
        TrackingError: it is not installed, or writes to another folder in this process already.
    """
    if importlib.util.find_spec("trackio") is None:
        raise TrackingError("tracking needs the package trackio: pip install 'mlcourse[lab]'. Or pass tracker=None.")
    if "trackio" not in sys.modules:
        os.environ["TRACKIO_DIR"] = str(folder)  # it is read once, at the import
    import trackio

    taken = Path(trackio.utils.TRACKIO_DIR).absolute()
    if taken != folder:
        raise TrackingError(
            f"trackio writes to {taken} in this process, and can't write to {folder} too. Use one folder a process: set the "
            "variable TRACKIO_DIR before Python starts, or restart the kernel."
        )
    return trackio


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops what is printed: paths and hints that differ from machine to machine, in the middle of a lesson."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def tensorboard_writer(project: str, name: str, config: dict, folder: Path) -> Writer:
    if importlib.util.find_spec("tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    elif importlib.util.find_spec("tensorboardX"):
        from tensorboardX import SummaryWriter
    else:
        raise TrackingError("backend 'tensorboard' needs the package tensorboard: pip install tensorboard (or tensorboardX).")
    writer = SummaryWriter(str(folder / project / name))
    writer.add_text("config", json.dumps(config))

    def log(metrics: Row, step: int) -> None:
        for metric, value in metrics.items():
            writer.add_scalar(metric, value, step)

    def save(path: Path, name: str, kind: str, copy: bool) -> None:
        if kind == "manifest":
            writer.add_text("manifest", path.read_text(encoding="utf-8"))
        else:  # event files hold no files
            writer.add_text(f"artifact/{name}", f"{kind}, {path.resolve()}, sha256 {digest(path)}")
        writer.flush()

    return Writer(log, save, lambda well: writer.close())


def wandb_writer(project: str, name: str, config: dict, folder: Path) -> Writer:
    if importlib.util.find_spec("wandb") is None:
        raise TrackingError("backend 'wandb' needs the package wandb: pip install wandb. It needs no account.")
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(project=project, name=name, config=config, dir=str(folder), mode=mode, reinit="create_new")

    def save(path: Path, name: str, kind: str, copy: bool) -> None:
        artifact = wandb.Artifact(name, type=kind)
        artifact.add_file(str(path)) if copy else artifact.add_reference(path.resolve().as_uri())
        run.log_artifact(artifact)

    return Writer(lambda metrics, step: run.log(metrics, step=step), save, lambda well: run.finish(exit_code=int(not well)))


BACKENDS = {"trackio": trackio_writer, "tensorboard": tensorboard_writer, "wandb": wandb_writer}


# What Trackio has kept


def read(project: str, run: str | None = None, *, folder: str | os.PathLike | None = None) -> list[dict]:
    """The logged rows of a project, or of one run, as {"run": ..., "step": ..., metrics}, by run and step.

    Trackio has no function for this; here its file is read, and nowhere else.
    """
    sql = "SELECT run_name, step, metrics FROM metrics WHERE ?1 IS NULL OR run_name = ?1 ORDER BY run_name, step, id"
    return [
        {"run": name, "step": step} | {key: NOT_FINITE.get(value, value) for key, value in json.loads(metrics).items()}
        for name, step, metrics in rows_of(project, folder, sql, (run,))
    ]


def runs(project: str, *, folder: str | os.PathLike | None = None) -> dict[str, dict]:
    """The manifest of every run of a project by name, with "status" and "artifacts"; a run that was killed is "running"."""
    sql = """SELECT links.run_name, versions.manifest FROM run_artifact_links AS links
             JOIN artifact_versions AS versions ON versions.id = links.artifact_version_id
             JOIN artifacts ON artifacts.id = versions.artifact_id WHERE artifacts.type = 'manifest' ORDER BY links.id"""
    blobs = place(folder) / "artifacts" / project / "blobs" / "sha256"
    found = {}
    for name, files in rows_of(project, folder, sql):
        sha256 = json.loads(files)[0]["digest"]
        found[name] = json.loads((blobs / sha256[:2] / sha256).read_text(encoding="utf-8"))
    return found


def place(folder: str | os.PathLike | None) -> Path:
    return default_folder() if folder is None else Path(folder)


def rows_of(project: str, folder: str | os.PathLike | None, sql: str, values: tuple = ()) -> list[tuple]:
    path = place(folder) / f"{project}.db"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
        return database.execute(sql, values).fetchall()


def main(argv: list[str]) -> int:
    """Opens the dashboard and serves it to this machine's browser until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="mlcourse dashboard", description=main.__doc__)
    parser.add_argument("--project", help="show this project first")
    parser.add_argument("--folder", type=Path, help="default: the variable TRACKIO_DIR, else runs/trackio")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    options = parser.parse_args(argv)
    folder = place(options.folder).absolute()
    if not list(folder.glob("*.db")):
        cure = "Run `python -m mlcourse train --config examples/digits.yaml`, or a sweep."
        print(f"nothing is tracked in {folder} yet. {cure}", file=sys.stderr)
        return 2
    try:
        trackio = trackio_in(folder)
        trackio.show(options.project, open_browser=not options.no_browser, server_port=options.port, share=False)
    except TrackingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
