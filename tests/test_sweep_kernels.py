"""Forked kernels: like ordinary ones in all that a notebook can see, apart from one another, and replaced by ordinary ones."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from mlcourse import __main__ as command_line
from mlcourse.sweep import forkserver, kernels, trial

pytestmark = pytest.mark.skipif(not kernels.forking_works(), reason="this system has no fork server")

# What a cell can see of its process. "seen" must be the same in a forked and in an ordinary kernel.
LOOK = """
import builtins, gc, os, random, signal, sys, tempfile, threading, warnings
import numpy
seen = {
    "environment": {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"},
    "directory": os.getcwd(), "path": sys.path, "arguments": sys.argv[0], "name": __name__, "flags": str(sys.flags),
    "builtins": sorted(dir(builtins)), "numpy": sorted(dir(numpy)), "errors": numpy.geterr(),
    "printing": str(numpy.get_printoptions()),
    "filters": sorted({str(row[:3]) for row in warnings.filters}), "umask": os.umask(0o22),
    "recursion": sys.getrecursionlimit(),
    "signals": [getattr(signal.getsignal(number), "__name__", str(signal.getsignal(number))) for number in (2, 15, 17)],
    "threads": sorted(type(thread).__name__ for thread in threading.enumerate()), "files": len(os.listdir("/proc/self/fd")),
    "temporary": tempfile.gettempdir(), "leads its group": os.getpgid(0) == os.getpid(),
    "input": os.read(0, 1).decode(),
    "variables": sorted(name for name in globals() if not name.startswith("_")),
}
draws = [random.random(), float(numpy.random.rand()), float(numpy.random.default_rng().random())]
"""
SPOIL = """
marks = "a variable"
builtins.marks = numpy.marks = "an attribute"
random.seed(0); numpy.random.seed(0)
numpy.seterr(all="ignore"); numpy.set_printoptions(precision=2); numpy.pi = 3
os.environ["MARKS"] = "an environment variable"; os.environ.pop("COURSE")
os.chdir("/"); sys.path.insert(0, "/marks"); sys.setrecursionlimit(5000)
warnings.simplefilter("ignore", ResourceWarning); os.umask(0o77); tempfile.tempdir = "/"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
TELL = "import json; display({'text/plain': json.dumps([seen, draws, numpy.pi, os.getppid()])}, raw=True)"


@pytest.fixture(scope="module", autouse=True)
def provisioner():
    trial.register()  # as in a worker; an installed package says it by its entry point


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A fork server with NumPy."""
    server = kernels.Server(["numpy"], os.environ | {"COURSE": "yes"})
    yield server
    server.stop()


def outputs(folder: Path, sources: list[str], env: dict[str, str]) -> list:
    """What the second cell tells in JSON, run in a kernel of the course's kernelspec."""
    with trial.kernel_settings(trial.Watch(None, None), lambda pid: None) as config:
        client = NotebookClient(new_notebook(cells=[new_code_cell(source) for source in sources]), config=config)
        cells = client.execute(env=os.environ | env, cwd=str(folder)).cells
    return json.loads(cells[1].outputs[0]["data"]["text/plain"])


def test_a_forked_kernel_sees_what_an_ordinary_one_sees_and_nothing_of_the_one_before(server, tmp_path, monkeypatch):
    env = {"COURSE": "yes"}
    monkeypatch.setenv(kernels.ADDRESS, "off")
    ordinary, _, pi, parent = outputs(tmp_path, [LOOK, TELL], env)
    assert (pi, parent) == (3.141592653589793, os.getpid())
    monkeypatch.setenv(kernels.ADDRESS, server.address)
    first, draws, pi, parent = outputs(tmp_path, [LOOK, TELL, SPOIL], env)
    assert parent == server.process.pid
    second, others, pi, parent = outputs(tmp_path, [LOOK, TELL], env)
    assert (pi, parent) == (3.141592653589793, server.process.pid)
    assert not set(draws) & set(others), "each kernel has random numbers of its own"
    assert second == first
    for name in ordinary:
        if name == "files":
            assert second[name] <= ordinary[name] + 2, "no file of the server is open"
        elif name == "environment":
            assert kernels.ADDRESS not in second[name]
            assert second[name] == ordinary[name]
        else:
            assert second[name] == ordinary[name], name


def test_a_kernel_with_other_settings_of_a_library_is_an_ordinary_one(server, tmp_path, monkeypatch):
    monkeypatch.setenv(kernels.ADDRESS, server.address)
    said = kernels.ask(server.address, [], {"COURSE": "yes", "JAX_ENABLE_X64": "1"}, str(tmp_path))
    assert "JAX_ENABLE_X64" in said and "was set after the server had started" in said
    _, _, _, parent = outputs(tmp_path, [LOOK, TELL], {"COURSE": "yes", "OMP_NUM_THREADS": "3"})
    assert parent == os.getpid()


def test_an_import_that_starts_a_thread_ends_the_server_and_kernels_are_ordinary_ones(tmp_path):
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()"
    )
    server = kernels.Server(["threaded"], os.environ | {"PYTHONPATH": str(tmp_path)})
    assert kernels.ask(server.address, [], {}, "/") in ("the server ended", "[Errno 104] Connection reset by peer")
    server.process.wait(30)
    server.errors.seek(0)
    assert "the fork server has 2 threads after importing threaded; it needs to have one." in server.errors.read()
    server.stop()
    assert "No such file" in kernels.ask(server.address, [], {}, "/") or "refused" in kernels.ask(server.address, [], {}, "/")


def test_a_module_that_is_missing_does_not_end_the_server(server):
    other = kernels.Server(["no_such_module_at_all"], dict(os.environ))
    found = kernels.ask(other.address, ["--version"], dict(os.environ), "/")
    assert isinstance(found, kernels.Forked)
    assert found.wait() == 0
    assert found.poll() == 0
    found.send_signal(signal.SIGKILL)  # it has ended: nobody is meant
    other.stop()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


WAIT = ["--IPKernelApp.exec_lines=import time; time.sleep(300)"]


def test_a_kernel_ends_by_a_signal_with_its_client_and_with_its_server():
    server = kernels.Server([], dict(os.environ))
    first, second, third = (kernels.ask(server.address, WAIT, dict(os.environ), "/") for _ in range(3))
    assert first.poll() is None
    first.kill()
    assert first.wait() == -signal.SIGKILL
    second.connection.close()
    assert gone(second.pid)
    assert third.poll() is None
    server.process.kill()
    assert gone(third.pid)
    assert third.wait() == -signal.SIGKILL
    server.stop()
    assert not Path(server.folder).exists()


def test_a_silent_or_broken_client_does_not_stop_the_server(server, monkeypatch):
    for words in (b"", b"\0\0\0\5", b"\0\0\0\2[]", b"nonsense" * 10):
        client = socket.socket(socket.AF_UNIX)
        client.connect(server.address)
        client.sendall(words)
        client.close()
    found = kernels.ask(server.address, ["--version"], os.environ | {"COURSE": "yes"}, "/")
    assert found.wait() == 0


def test_elsewhere_kernels_are_ordinary_ones(monkeypatch):
    monkeypatch.setattr(kernels.sys, "platform", "darwin")
    assert not kernels.forking_works()
    monkeypatch.delenv(kernels.ADDRESS, raising=False)
    assert kernels.server_address() is None
    monkeypatch.undo()

    def forbidden(pid):
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    assert not kernels.forking_works()


def test_the_kernelspec_is_installed_and_names_the_provisioner(tmp_path, capsys, monkeypatch):
    assert command_line.main(["kernel", "--prefix", str(tmp_path)]) == 0
    assert "pytest --nbval --nbval-kernel-name mlcourse" in capsys.readouterr().out
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    spec = AsyncKernelManager(kernel_name="mlcourse").kernel_spec
    assert spec.metadata["kernel_provisioner"]["provisioner_name"] == "mlcourse"
    (point,) = metadata.entry_points(group="jupyter_client.kernel_provisioners", name="mlcourse")
    assert point.load() is kernels.Provisioner


def test_a_process_that_has_no_server_starts_one_of_its_own_and_it_ends_with_the_process(tmp_path):
    # As JupyterLab and nbval do: they know the kernelspec only.
    code = """
import os, sys
from mlcourse.sweep import kernels
first, second = kernels.server_address(), kernels.server_address()
assert first == second
found = kernels.ask(first, ["--version"], dict(os.environ), "/")
assert found.wait() == 0
print(kernels.own_server[0].process.pid, kernels.own_server[0].folder, flush=True)
os.kill(os.getpid(), 9)  # nobody can tidy up
"""
    environment = {name: value for name, value in os.environ.items() if name != kernels.ADDRESS} | {
        kernels.PRELOAD: "json,,csv"
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    pid, folder = done.stdout.splitlines()[-1].split()
    assert gone(int(pid))
    assert not Path(folder).exists()


def test_what_a_server_froze_is_the_settings_that_libraries_read_at_import():
    fixed = forkserver.frozen({"XLA_FLAGS": "a", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "COURSE": "x", "PWD": "/"})
    assert sorted(fixed) == ["OMP_NUM_THREADS", "PYTHONHASHSEED", "XLA_FLAGS"]
