"""Imported libraries into Jupyter kernels: a process that imports once and forks a kernel for each request (Linux).

    python -m mlcourse.sweep.forkserver DESCRIPTOR MODULE ...

A kernel that is forked starts with its libraries imported, and is otherwise a new process: its own session, environment,
working directory, random numbers and no open file of the server. What keeps forking safe is that the server has exactly one
thread and has touched no backend; if an import started a thread, the server says so and ends, and clients start ordinary
kernels. It ends with its owner (when its standard input closes), and its kernels end with it.

One connection is one kernel. The client sends a request (`ask` in `mlcourse.sweep.kernels`) with its own standard output
and error; it gets {"pid": ...} or {"refused": why}, later {"code": ...}; lines {"signal": ...} go the other way. When the
client goes away, its kernel is killed.
"""

import array
import contextlib
import ctypes
import gc
import importlib.util
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from typing import NamedTuple

# Read when a library is imported or loaded: a request with another value needs an ordinary kernel.
FROZEN = (
    "PYTHON", "JAX_", "XLA_", "TF_", "FLAX_", "OMP_", "MKL_", "KMP_", "GOTO_", "OPENBLAS_", "BLIS_", "NPY_", "TORCH", "PYTORCH",
    "ATEN_", "CUDA_", "CUBLAS_", "NVIDIA_", "LD_", "MALLOC_", "MPLCONFIG", "SCIPY_", "SKLEARN_", "LC_", "LANG", "HOME",
)  # fmt: skip
INLINE = "module://matplotlib_inline.backend_inline"
HEADER = struct.Struct("!I")
SECONDS_TO_ASK = 10


class Request(NamedTuple):
    """What a kernel is started with."""

    arguments: list[str]  # of ipykernel
    environment: dict[str, str]
    folder: str
    streams: tuple[int, int]  # file descriptors of its output and errors


def frozen(environment: dict[str, str]) -> dict[str, str]:
    """The variables that had their effect when the server imported its modules.

    >>> frozen({"JAX_PLATFORMS": "cpu", "COLUMNS": "80"})
    {'JAX_PLATFORMS': 'cpu'}
    """
    return {name: value for name, value in environment.items() if name.startswith(FROZEN)}


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main() -> None:
    """Serve until the owner ends; in a forked child, return as a kernel."""
    number, *modules = sys.argv[1:]
    sys.path.pop(0)  # the folder the server was started in is not the folder of its kernels
    listener = socket.socket(fileno=int(number))  # clients can connect before this process runs, and wait
    before = dict(os.environ)
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # read when ipykernel is imported: whose end ends a kernel
    os.environ["MPLBACKEND"] = INLINE  # read when Matplotlib is imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's library starts its threads when it is loaded
    prepared = dict(os.environ)
    for name in ("ipykernel.kernelapp", "ipykernel.ipkernel", *modules):
        # A module that is missing here is missing in the notebook too, where the reader sees the error.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    added = {name: value for name, value in os.environ.items() if name not in prepared}
    if threads() != 1:
        sys.exit(f"the fork server has {threads()} threads after importing {', '.join(modules)}; it needs to have one.")
    gc.collect()
    gc.freeze()  # the collector does not touch, and so does not copy, what is shared with the kernels
    request = serve(listener, frozen(before))
    if request is not None:
        become_kernel(request, added)
    else:
        shutil.rmtree(os.path.dirname(listener.getsockname()), ignore_errors=True)  # its owner may have been killed


def serve(listener: socket.socket, fixed: dict[str, str]) -> Request | None:
    """Answer requests. Returns a Request in a forked child, None in the server when its owner has ended."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    kernels: dict[socket.socket, tuple[int, int]] = {}  # connection: (process, its pidfd)
    owners: dict[int, socket.socket] = {}  # pidfd: connection

    def end(connection: socket.socket) -> None:
        """The client is gone: so is its kernel."""
        selector.unregister(connection)
        pid, pidfd = kernels.pop(connection)
        connection.close()
        owners.pop(pidfd)
        selector.unregister(pidfd)
        kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)

    while True:
        for key, _ in selector.select():
            if key.fileobj == 0:
                for connection in list(kernels):
                    end(connection)
                return None
            if key.fileobj is listener:
                connection, _ = listener.accept()
                request = receive(connection)
                if request is None:
                    connection.close()
                    continue
                if frozen(request.environment) != fixed:
                    differs = sorted(dict(set(frozen(request.environment).items()) ^ set(fixed.items())))
                    tell(connection, {"refused": f"{', '.join(differs)} was set after the server had started"})
                    close(connection, *request.streams)
                    continue
                pid = os.fork()
                if pid == 0:
                    for other, (_, pidfd) in kernels.items():
                        close(other, pidfd)
                    close(connection, listener, selector)
                    return request
                pidfd = os.pidfd_open(pid)
                kernels[connection], owners[pidfd] = (pid, pidfd), connection
                selector.register(connection, selectors.EVENT_READ)
                selector.register(pidfd, selectors.EVENT_READ)
                close(*request.streams)
                tell(connection, {"pid": pid})
            elif key.fileobj in owners:  # a kernel has ended
                connection = owners.pop(key.fileobj)
                selector.unregister(key.fileobj)
                selector.unregister(connection)
                pid, pidfd = kernels.pop(connection)
                _, status = os.waitpid(pid, 0)
                tell(connection, {"code": os.waitstatus_to_exitcode(status)})
                close(connection, pidfd)
                break  # the other events of this round may be about what was just closed
            elif key.fileobj in kernels:
                said = receive_lines(key.fileobj)
                if said is None:
                    end(key.fileobj)
                    break
                for line in said:
                    kill(kernels[key.fileobj][0], line["signal"])


def close(*things) -> None:
    for thing in things:
        os.close(thing) if isinstance(thing, int) else thing.close()


def kill(pid: int, number: int) -> None:
    """A signal to a kernel and what it started; the process is the server's child and not yet waited for."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it has not yet made its session
        os.kill(pid, number)


def tell(connection: socket.socket, message: dict) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def receive_lines(connection: socket.socket) -> list[dict] | None:
    try:
        data = connection.recv(4096)
    except OSError:
        return None
    return [json.loads(line) for line in data.splitlines()] if data else None


def receive(connection: socket.socket) -> Request | None:
    """A whole request, or None from a client that goes away or is silent."""
    connection.settimeout(SECONDS_TO_ASK)
    size = array.array("i").itemsize * 2
    try:
        head, ancillary, _, _ = connection.recvmsg(HEADER.size, socket.CMSG_LEN(size))
        descriptors = array.array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        (length,) = HEADER.unpack(head)
        body = b""
        while len(body) < length:
            part = connection.recv(length - len(body))
            if not part:
                return None
            body += part
        connection.settimeout(None)
        return Request(*json.loads(body), streams=tuple(descriptors))
    except (OSError, ValueError, TypeError, struct.error):
        return None


def become_kernel(request: Request, added: dict[str, str]) -> None:
    """Turn this forked process into what `python -m ipykernel_launcher` would have been, and run it."""
    os.setsid()
    end_with_parent()
    output, errors = request.streams
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    close(*request.streams)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(added | request.environment | {"JPY_PARENT_PID": str(os.getppid())})
    time.tzset()
    os.chdir(request.folder)
    tempfile.tempdir = None  # it may have been looked up under another TMPDIR
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # not the server's numbers; Python's own `random` does this by itself
    if "matplotlib" in sys.modules and os.environ.get("MPLBACKEND", INLINE) != INLINE:
        sys.modules["matplotlib"].rcParams["backend"] = os.environ["MPLBACKEND"]
    sys.argv = [importlib.util.find_spec("ipykernel_launcher").origin, *request.arguments]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def end_with_parent() -> None:
    """The system kills this process when the server dies, however it does."""
    PR_SET_PDEATHSIG = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
