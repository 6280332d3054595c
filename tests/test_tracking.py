"""Tracked runs: what is kept, by how many writers at once, after a kill, without a network, and what the dashboard shows.

Trackio reads its folder once, at the import, so each test that writes runs in a process of its own.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from mlcourse import __main__ as command_line
from mlcourse import tracking

TOKEN = "hf_" + "a" * 34  # looks like one: with it, trackio would ask the Hub who the user is
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def python(code: str, folder: Path, **variables: str) -> str:
    """What a new process prints, in a folder that is no repository."""
    environment = {name: value for name, value in os.environ.items() if name != "TRACKIO_DIR"} | variables
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


ONE = """
import sys
events = []
def hook(event, words):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        events.append(f"{event} {words}")
sys.addaudithook(hook)
from pathlib import Path
from mlcourse import tracking
from mlcourse.train import train

def step(w, batch):
    return w - 0.2 * (w - batch), {"loss": (w - batch) ** 2}

with tracking.start("digits", "outer", {"seed": 1, "hidden": (8, 8)}, data={"digits": "abc"}) as run:
    train(step, 0.0, [1.0] * 3, num_steps=3, evaluate=lambda w: {"error": w}, tracker=run, progress=False)
    with tracking.start("digits", "inner", {"seed": 2}) as inner:
        inner.log_history([{"step": 5, "loss": float("nan")}, {"step": 6, "loss": float("inf")}])
    run({"step": 4, "loss": 0.25})
    Path("weights.txt").write_text("weights")
    print(run.save("weights.txt", kind="model"), run.save("weights.txt", kind="model", copy=False))
try:
    with tracking.start("digits", "bad", key="always this one"):
        raise ValueError("a slip")
except ValueError:
    pass
with tracking.start("digits", "bad", key="always this one") as again:
    again({"step": 1, "loss": 1.0})
print(run.name, inner.name, again.name)
print(events)
"""


def test_a_run_is_read_back_with_its_rows_files_and_manifest_and_asks_nobody(tmp_path):
    words = python(ONE, tmp_path, HF_TOKEN=TOKEN).splitlines()
    folder = tmp_path / "runs" / "trackio"
    sha256 = tracking.digest(tmp_path / "weights.txt")
    outer, inner, again = words[1].split()
    assert words[0].split() == [sha256, sha256]
    assert words[2] == "[]", "no network"
    rows = tracking.read("digits", outer, folder=folder)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4], "the end of an inner run ends no other"
    assert rows[0] == {"run": outer, "step": 0, "error": 0.0}
    assert rows[3] == {"run": outer, "step": 3, "loss": pytest.approx(0.4096), "error": pytest.approx(0.488)}
    nan, infinite = tracking.read("digits", inner, folder=folder)
    assert nan["loss"] != nan["loss"] and infinite["loss"] == float("inf")
    manifests = tracking.runs("digits", folder=folder)
    assert set(manifests) == {outer, inner, again} and outer.startswith("outer-")
    kept = manifests[outer]
    assert (kept["status"], kept["parameters"], kept["data"]) == ("finished", {"seed": 1, "hidden": [8, 8]}, {"digits": "abc"})
    assert kept["packages"]["numpy"] and kept["seconds"] >= 0
    assert [(entry["name"], entry["kind"], entry["sha256"]) for entry in kept["artifacts"]] == [
        ("weights.txt", "model", sha256)
    ] * 2
    blobs = [path for path in (folder / "artifacts").rglob(sha256) if path.read_text() == "weights"]
    assert len(blobs) == 1, "the content was kept once, and by copy=False not at all"
    assert manifests[again]["status"] == "finished" and len(tracking.read("digits", again, folder=folder)) == 1
    assert tracking.read("nothing", folder=folder) == [] and tracking.runs("nothing", folder=folder) == {}


MANY = """
import os, signal, sys
sys.path.insert(0, "")
from mlcourse import tracking
tracking.trackio_in(tracking.default_folder())  # imported once; the writers are forked and open everything themselves
pids = []
for writer in range(8):
    if not (pid := os.fork()):
        with tracking.start("many", f"writer{writer}", {"writer": writer}) as run:
            for step in range(200):
                run({"step": step, "loss": writer + step / 1000})
        os._exit(0)
    pids.append(pid)
if not (pid := os.fork()):  # killed as soon as it has begun
    with tracking.start("many", "killed", {"seed": 7}) as run:
        run({"step": 0, "loss": 1.0})
        os.kill(os.getpid(), signal.SIGKILL)
print([os.waitpid(pid, 0)[1] for pid in [*pids, pid]])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked, because importing trackio eight times takes long")
def test_eight_writers_at_once_lose_no_row_and_a_run_that_is_killed_at_once_is_seen(tmp_path):
    codes = json.loads(python(MANY, tmp_path))
    assert codes == [0] * 8 + [signal.SIGKILL]
    folder = tmp_path / "runs" / "trackio"
    rows = [row for row in tracking.read("many", folder=folder) if not row["run"].startswith("killed")]
    assert sorted((int(row["run"][6]), row["step"]) for row in rows) == [(w, s) for w in range(8) for s in range(200)]
    assert all(row["loss"] == int(row["run"][6]) + row["step"] / 1000 for row in rows)
    manifests = tracking.runs("many", folder=folder)
    assert sorted(entry["status"] for entry in manifests.values()) == ["finished"] * 8 + ["running"]
    killed = next(entry for name, entry in manifests.items() if name.startswith("killed"))
    assert killed["parameters"] == {"seed": 7}


@pytest.mark.parametrize(
    "backend, cure", [("trackio", r"'mlcourse\[lab\]'"), ("tensorboard", "tensorboard"), ("wandb", "wandb")]
)
def test_a_missing_backend_is_named_with_its_cure(backend, cure, monkeypatch, tmp_path):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tracking.TrackingError, match=f"needs the package {backend}: pip install {cure}"):
        with tracking.start("digits", "sgd", backend=backend, folder=tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words, message",
    [
        (("digits", "sgd", {"f": print}), "config is not plain JSON"),
        (("digits", "sgd", {"_seed": 1}), "'_seed'; names that begin with _"),
        (("my digits", "sgd"), "'my digits' can't name a project"),
        (("digits", ""), "'' can't name a run"),
    ],
)
def test_what_cannot_be_tracked_is_refused_before_anything_is_written(words, message, tmp_path):
    with pytest.raises(tracking.TrackingError, match=message), tracking.start(*words, folder=tmp_path):
        pass
    with pytest.raises(tracking.TrackingError, match="unknown backend 'trackoi'. Did you mean 'trackio'"):
        with tracking.start("digits", "sgd", backend="trackoi", folder=tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_folder_in_one_process_is_refused(monkeypatch, tmp_path):
    there = types.SimpleNamespace(utils=types.SimpleNamespace(TRACKIO_DIR=tmp_path / "one"))
    monkeypatch.setitem(sys.modules, "trackio", there)
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: True)
    assert tracking.trackio_in(tmp_path / "one") is there
    with pytest.raises(tracking.TrackingError, match=f"writes to {tmp_path}/one in this process, and can't write to"):
        tracking.trackio_in(tmp_path / "two")


def noted() -> tuple[list, tracking.Writer]:
    """A writer that notes what it is asked for."""
    calls = []
    return calls, tracking.Writer(
        lambda metrics, step: calls.append((step, metrics)),
        lambda path, name, kind, copy: calls.append((name, kind, copy)),
        lambda well: calls.append(well),
    )


@pytest.mark.parametrize("row", [{"loss": 1.0}, {"step": 0.5, "loss": 1.0}, {"step": "1", "loss": 1.0}])
def test_a_row_without_a_step_is_refused(row, tmp_path):
    with pytest.raises(tracking.TrackingError, match="has no whole number 'step'"):
        tracking.Run("run", tmp_path, noted()[1])(row)


def test_a_row_with_text_and_a_file_that_is_not_there_are_refused(tmp_path):
    run = tracking.Run("run", tmp_path, noted()[1])
    with pytest.raises(tracking.TrackingError, match="holds something that is no number"):
        run({"step": 1, "loss": "low"})
    with pytest.raises(FileNotFoundError, match="is no file, so run 'run' can't keep it"):
        run.save(tmp_path / "missing.txt")


def test_runs_are_kept_at_the_top_of_the_repository_wherever_python_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    (tmp_path / ".git").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert tracking.default_folder() == tmp_path / "runs" / "trackio"
    assert tracking.default_folder("wandb") == tmp_path / "runs" / "wandb"
    monkeypatch.setenv("TRACKIO_DIR", "elsewhere")
    assert tracking.default_folder() == tmp_path / "notebooks" / "elsewhere"


def track_a_little(backend: str, folder: Path) -> str:
    (folder / "weights.txt").write_text("weights")
    with tracking.start("digits", "sgd", {"seed": 1}, backend=backend, folder=folder) as run:
        run.log_history([{"step": 0, "error": 0.9}, {"step": 1, "loss": 0.5, "error": 0.8}])
        run.save(folder / "weights.txt", kind="model")
    return run.name


def test_tensorboard_gets_the_same_rows_and_manifest(tmp_path):
    if not tracking.importlib.util.find_spec("tensorboard"):
        pytest.importorskip("tensorboardX")
    name = track_a_little("tensorboard", tmp_path)
    (events,) = (tmp_path / "digits" / name).glob("events.out.tfevents.*")
    written = events.read_bytes()
    for part in (b"loss", b"error", b"manifest", b"finished", tracking.digest(tmp_path / "weights.txt").encode()):
        assert part in written


def test_wandb_is_called_as_its_documentation_says(tmp_path, monkeypatch):
    # A stand-in with the documented calls and no others; the test below runs the real one where it is installed.
    calls = []

    class Artifact:
        def __init__(self, name, type):
            self.name, self.type = name, type

        def add_file(self, local_path):
            calls.append((self.name, self.type, Path(local_path).name))

    class Run:
        def log(self, data, step):
            calls.append((step, data))

        def log_artifact(self, artifact):
            calls.append(artifact.type)

        def finish(self, exit_code):
            calls.append(exit_code)

    def init(project, name, config, dir, mode, reinit):
        calls.append((project, config, mode))
        return Run()

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Artifact=Artifact))
    name = track_a_little("wandb", tmp_path)
    manifest = [(f"{name}.manifest", "manifest", "manifest.json"), "manifest"]
    rows = [(0, {"error": 0.9}), (1, {"loss": 0.5, "error": 0.8})]
    weights = [("weights.txt", "model", "weights.txt"), "model"]
    assert calls == [("digits", {"seed": 1}, "offline"), *manifest, *rows, *weights, *manifest, 0]


def test_the_real_wandb_writes_files_without_an_account(tmp_path):
    pytest.importorskip("wandb")
    python(f"from tests.test_tracking import *; track_a_little('wandb', Path({str(tmp_path)!r}))", Path(__file__).parent.parent)
    assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))


def test_a_dashboard_of_nothing_says_what_to_do(tmp_path, capsys):
    assert command_line.main(["dashboard", "--folder", str(tmp_path)]) == 2
    assert f"nothing is tracked in {tmp_path} yet. Run `python -m mlcourse train" in capsys.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_sees_the_runs_on_the_dashboard(tmp_path):
    name = python(
        "from mlcourse import tracking\nwith tracking.start('digits', 'seen', {'seed': 1}) as run:\n"
        "    run.log_history({'step': k, 'loss': 1 / (k + 1)} for k in range(50))\nprint(run.name)",
        tmp_path,
    ).strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlcourse", "dashboard", "--no-browser", "--port", str(port)]
    command += ["--folder", str(tmp_path / "runs" / "trackio"), "--project", "digits"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
        browser += ["--virtual-time-budget=10000", "--dump-dom", f"http://127.0.0.1:{port}/?project=digits"]
        page = subprocess.run(browser, capture_output=True, text=True, timeout=100).stdout
    finally:
        server.terminate()
        server.wait()
    assert name in page and "loss" in page
