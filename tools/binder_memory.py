"""A notebook into the memory that JupyterLab and its kernel take while it runs, as on Binder: `make binder-memory`.

Prints the highest sums over both processes of
- resident memory: all pages in use, where a library that both have mapped counts once;
- private memory: what the system can't take back, so what a limit is really about.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import nbformat
import psutil  # ipykernel needs it too
import websocket  # jupyter_server needs it too

ROOT = Path(__file__).parent.parent
BINDER = {"MALLOC_ARENA_MAX": "1"}  # the setting of binder/start
MIB = 2**20


def memory(process: psutil.Process) -> tuple[int, int]:
    """Resident and private bytes of a process and its children, now."""
    private, files = 0, {}
    for one in [process, *process.children(recursive=True)]:
        try:
            info, maps = one.memory_info(), one.memory_maps()
        except psutil.NoSuchProcess:
            continue
        private += info.rss - info.shared
        for part in maps:  # in memory once, however many processes have the file mapped
            files[part.path] = max(files.get(part.path, 0), part.shared_clean + part.shared_dirty + part.private_clean)
    return private + sum(size for path, size in files.items() if path.startswith("/")), private


class Server:
    """A JupyterLab server with a token, on a free port of this machine."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address, self.token = f"127.0.0.1:{port}", uuid.uuid4().hex
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
        options = [f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={ROOT}"]
        self.process = subprocess.Popen(
            [*command, *options], env=os.environ | BINDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def call(self, path: str, *, body: dict | None = None) -> bytes:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://{self.address}{path}", data=data)
        request.add_header("Authorization", f"token {self.token}")
        return urllib.request.urlopen(request, timeout=60).read()

    def wait(self, *, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.call("/lab") and None
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def run(self, notebook: Path) -> None:
        """Execute the notebook's cells in a new kernel, as JupyterLab does: through the server."""
        kernel = json.loads(self.call("/api/kernels", body={"name": "python3", "path": str(notebook.parent)}))["id"]
        url = f"ws://{self.address}/api/kernels/{kernel}/channels?token={self.token}"
        channel = websocket.create_connection(url, timeout=600)
        for cell in nbformat.read(notebook, as_version=4).cells:
            if cell.cell_type == "code":
                execute(channel, cell.source)
        channel.close()


def execute(channel: websocket.WebSocket, source: str) -> None:
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": "", "version": "5.3"}
    content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    channel.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "channel": "shell", "content": content}))
    while True:
        message = channel.recv()
        if isinstance(message, bytes):  # a widget's buffers
            continue
        message = json.loads(message)
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        if message["msg_type"] == "error":
            raise SystemExit("\n".join(message["content"]["traceback"]))
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return


def main(notebook: str = "notebooks/01_training_loop.ipynb") -> None:
    server, peak, done = Server(), [0, 0], threading.Event()

    def watch():
        while not done.wait(0.2):
            peak[:] = map(max, peak, memory(psutil.Process(server.process.pid)))

    try:
        server.wait()
        alone = memory(psutil.Process(server.process.pid))
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            server.run(ROOT / notebook)
        finally:
            done.set()
            watcher.join()
    finally:
        server.process.terminate()
        server.process.wait()
    print(f"JupyterLab alone:     {alone[0] / MIB:5.0f} MiB resident, {alone[1] / MIB:5.0f} MiB private")
    print(f"with {Path(notebook).stem}: {peak[0] / MIB:5.0f} MiB resident, {peak[1] / MIB:5.0f} MiB private, at the most")


if __name__ == "__main__":
    main(*sys.argv[1:])
