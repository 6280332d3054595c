"""A kernelspec into a running kernel: forked from a server where the system has one, an ordinary kernel elsewhere.

The provisioner is named in a kernelspec (`python -m mlcourse kernel` installs one), so whatever starts kernels by name can
use it: papermill, `pytest --nbval --nbval-kernel-name mlcourse`, JupyterLab.
"""

import argparse
import array
import ast
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.provisioning import LocalProvisioner

from mlcourse.sweep.forkserver import HEADER

ADDRESS = "MLCOURSE_FORKSERVER"  # where a server listens that somebody else started; "off" for ordinary kernels
PRELOAD = "MLCOURSE_PRELOAD"  # modules for a server of one's own, with commas
MODULES = ("numpy", "matplotlib.pyplot", "jax", "jax.numpy", "optax", "flax.nnx")
SAFE = {"numpy", "scipy", "sklearn", "matplotlib", "jax", "flax", "optax", "torch", "mlcourse"}  # start no thread on import
IMPLIED = {  # what modules import when they are used
    "mlcourse.data": "sklearn.datasets",
    "mlcourse.record": "scipy.stats",
    "mlcourse.stats": "scipy.stats",
}
NAME = "mlcourse"  # of the kernelspec and of the provisioner
SECONDS_TO_START = 120  # a busy machine imports for a minute


KILL = signal.SIGTERM if os.name == "nt" else signal.SIGKILL


def end(pid: int, number: int = KILL) -> None:
    """Signal a kernel and what it has started: it leads a process group."""
    with contextlib.suppress(OSError):
        if os.name == "nt":
            os.kill(pid, number)
        else:
            os.killpg(pid, number)


def forking_works() -> bool:
    """Whether this system can run a fork server.

    >>> forking_works() in (True, False)
    True
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open") or not os.path.isdir("/proc/self/task"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an old kernel, or a container that forbids it
        return False
    return True


def imported(notebook: dict) -> list[str]:
    """The modules that a notebook imports at the top of its cells and that are known to start no threads.

    >>> imported({"cells": [{"cell_type": "code", "source": "import os, numpy as np\\nfrom mlcourse import data"}]})
    ['mlcourse', 'mlcourse.data', 'numpy', 'sklearn.datasets']
    """
    names = set()
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        lines = [line for line in "".join(cell["source"]).splitlines() if not line.lstrip().startswith(("%", "!"))]
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError:
            continue
        for node in tree.body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*"}
    names |= {IMPLIED[name] for name in names & IMPLIED.keys()}
    return sorted(name for name in names if name.split(".")[0] in SAFE)


class Server:
    """A fork server that ends with this process, or with `stop`."""

    def __init__(self, modules: tuple[str, ...] | list[str], environment: dict[str, str] | None = None):
        self.folder = tempfile.mkdtemp(prefix="fork-")
        self.address = os.path.join(self.folder, "s")
        self.errors = open(os.path.join(self.folder, "errors"), "w+")
        environment = dict(os.environ if environment is None else environment)
        for name in (ADDRESS, PRELOAD):
            environment.pop(name, None)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(64)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlcourse.sweep.forkserver", str(listener.fileno()), *modules],
                stdin=subprocess.PIPE, stdout=self.errors, stderr=self.errors, env=environment, start_new_session=True,
                pass_fds=[listener.fileno()],
            )  # fmt: skip
        atexit.register(self.stop)

    def stop(self) -> None:
        atexit.unregister(self.stop)
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Forked:
    """A forked kernel with the methods of `subprocess.Popen` that a provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int):
        self.connection, self.pid, self.returncode = connection, pid, None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.connection.setblocking(False)
            try:
                said = self.connection.recv(4096)
            except BlockingIOError:
                return None
            except OSError:
                said = b""
            # Silence is the server's end, and with it the kernel's.
            self.returncode = json.loads(said.splitlines()[-1])["code"] if said else -signal.SIGKILL
            self.connection.close()
        return self.returncode

    def wait(self) -> int:
        while self.poll() is None:
            threading.Event().wait(0.05)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(OSError):  # it ended in this moment
                self.connection.setblocking(True)
                self.connection.sendall(json.dumps({"signal": int(number)}).encode() + b"\n")

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def ask(address: str, arguments: list[str], environment: dict[str, str], folder: str) -> Forked | str:
    """A new kernel from the server at `address`, or the reason why there is none."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(SECONDS_TO_START)
    try:
        connection.connect(address)
        body = json.dumps([arguments, environment, folder]).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))]
        connection.sendmsg([HEADER.pack(len(body))], rights)
        connection.sendall(body)
        said = connection.recv(4096)
        answer = json.loads(said) if said else {"refused": "the server ended"}
    except (OSError, ValueError) as error:
        answer = {"refused": str(error)}
    if "pid" in answer:
        return Forked(connection, answer["pid"])
    connection.close()
    return answer["refused"]


class Provisioner(LocalProvisioner):
    """Forks a kernel if it can, and otherwise starts it as Jupyter does."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        address = server_address()
        environment = dict(kwargs.get("env") or os.environ)
        environment.pop(ADDRESS, None)
        kwargs["env"] = environment
        if address is None or cmd[1:3] != ["-m", "ipykernel_launcher"]:
            return await super().launch_kernel(cmd, **kwargs)
        folder = os.fspath(kwargs.get("cwd") or os.getcwd())
        found = ask(address, cmd[3:], environment, folder)
        if isinstance(found, str):
            self.log.debug("ordinary kernel: %s", found)
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid, self.cwd = found, found.pid, found.pid, folder
        return self.connection_info

    async def send_signal(self, signum: int) -> None:
        if isinstance(self.process, Forked):
            self.process.send_signal(signum)
        else:
            await super().send_signal(signum)


own_server: list[Server] = []
starting = threading.Lock()


def server_address() -> str | None:
    """Where a server listens, after starting one if nobody has; None where kernels are ordinary ones."""
    address = os.environ.get(ADDRESS)
    if address or not forking_works():
        return None if address == "off" else address
    with starting:
        if not own_server:
            modules = os.environ.get(PRELOAD, ",".join(MODULES)).split(",")
            own_server.append(Server([name for name in modules if name]))
        return own_server[0].address


def spec(python: str = sys.executable) -> KernelSpec:
    """The kernelspec that names the provisioner."""
    return KernelSpec(
        argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="Python 3 (mlcourse, starts fast)",
        language="python",
        metadata={"kernel_provisioner": {"provisioner_name": NAME}},
    )


def kernel_command(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="mlcourse kernel",
        description=f"Install the kernelspec `{NAME}`, whose kernels start with the course's libraries imported.",
    )
    parser.add_argument("--prefix", default=sys.prefix, help="where to (default: this environment)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernel.json").write_text(json.dumps(spec().to_dict(), indent=1), encoding="utf-8")
        place = KernelSpecManager().install_kernel_spec(folder, NAME, prefix=arguments.prefix)
    print(f"{place}: use it in JupyterLab, with `papermill -k {NAME}`, or with `pytest --nbval --nbval-kernel-name {NAME}`.")
    return 0
