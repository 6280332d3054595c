"""A checkout into a working Python environment, then a command run in it (standard library only).

The environment is `.venv`, and `.venv-mlcourse` where a `.venv` is there that this file did not make: that one is
never touched. What was made here carries a marker, written before anything else: state "started" until all is
installed, then "ready" with what it was made from. So a half-made, moved or outdated environment is always seen.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows: no lock, so don't start two at once there
    fcntl = None

MARKER = "mlcourse-environment"
FOLDERS = (".venv", ".venv-mlcourse")
NETWORK = "Is the network up, and is there room on the disk (3 GB)? Then run the command again."
# Settings of the person's own pip that would send packages somewhere else than into the environment.
MISLEADING = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "UV_PREFIX",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
)


class Failed(Exception):
    """A step of the set-up did not work; the text says which, why, and the cure."""


def wanted(project: Path) -> dict:
    """What an environment must have been made from to serve `project` as it is now."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((project / name).read_bytes() + b"\0")
    return {
        "project": str(project),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "packages": digest.hexdigest(),
    }


def state_of(folder: Path, want: dict) -> str:
    """One of "absent", "foreign", "half-made", "moved", "other Python", "outdated", "ready"."""
    if not os.path.lexists(folder):
        return "absent"
    if not (folder / MARKER).is_file():
        return "absent" if folder.is_dir() and not any(folder.iterdir()) else "foreign"
    try:
        made = json.loads((folder / MARKER).read_text())
    except ValueError:  # killed while writing it
        return "half-made"
    if made.get("state") != "ready" or not os.access(python_of(folder), os.X_OK):
        return "half-made"
    if made.get("project") != want["project"]:
        return "moved"  # its scripts and the editable install name the old place
    if made.get("python") != want["python"]:
        return "other Python"
    return "ready" if made.get("packages") == want["packages"] else "outdated"


def choose(project: Path, want: dict) -> tuple[Path, str]:
    """The folder to use and its state. Raises `Failed` where both names are taken by others."""
    for name in FOLDERS:
        state = state_of(project / name, want)
        if state != "foreign":
            return project / name, state
    raise Failed(
        f"Both {FOLDERS[0]} and {FOLDERS[1]} are here and neither was made by this project, so neither is "
        f"touched. Move or delete {FOLDERS[1]}, then run the command again."
    )


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def inside(folder: Path) -> dict:
    """The variables under which a command runs in the environment of `folder`."""
    variables = {k: v for k, v in os.environ.items() if k not in MISLEADING}
    path = os.pathsep.join([str(python_of(folder).parent), variables.get("PATH", os.defpath)])
    return variables | {"VIRTUAL_ENV": str(folder), "PATH": path, "PYTHONNOUSERSITE": "1"}


def pinned(project: Path, package: str) -> str:
    """The version of `package` in requirements.txt."""
    match = re.search(rf"^{re.escape(package)}==([^\s;]+)", (project / "requirements.txt").read_text(), re.MULTILINE)
    if match is None:
        raise Failed(f"requirements.txt has no line `{package}==...`. Remake it with `make lock`.")
    return match[1]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def first_that_works(step: str, folder: Path, *commands: list, cure: str) -> None:
    """Run the commands in turn until one succeeds. Raises `Failed` with the end of what the last one printed."""
    for command in commands:
        done = subprocess.run(
            [str(part) for part in command],
            env=inside(folder) | {"UV_HTTP_RETRIES": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode == 0:
            return
    last = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-12:])
    raise Failed(f"{step} failed:\n{last}\n{cure}")


def uv_pip(folder: Path, verb: str, *arguments: object, by: Path | str | None = None) -> list:
    """The command `uv pip VERB` on the environment of `folder`, with the uv that the Python `by` has (default: its own).

    The environment is named outright: `python -m uv` works on the environment of that Python, whatever VIRTUAL_ENV says.
    """
    return [by or python_of(folder), "-m", "uv", "pip", verb, "--python", python_of(folder), *arguments]


def pip(folder: Path, verb: str, *arguments: object) -> list:
    return [python_of(folder), "-m", "pip", "--disable-pip-version-check", verb, *arguments]


def install_torch(folder: Path, version: str, *, by: Path | str | None = None) -> None:
    """PyTorch's CPU build: the default one for Linux brings gigabytes of CUDA libraries the course never uses.

    First a wheel that pip knows on this machine (`find-links`), then the CPU build over the network, last the default build.
    """
    torch = f"torch=={version}"
    local = pip(folder, "install", "--no-index", "--no-deps", torch)
    cpu = uv_pip(folder, "install", "--torch-backend=cpu", "--no-deps", torch, by=by)
    default = [uv_pip(folder, "install", torch, by=by), pip(folder, "install", torch)]
    try:
        first_that_works("installing PyTorch's CPU build", folder, local, cpu, cure=NETWORK)
    except Failed:
        if sys.platform == "linux":
            say("  PyTorch's CPU build can't be reached: taking the default build, with several GB of CUDA libraries")
        first_that_works("installing PyTorch", folder, *default, cure=NETWORK)


def make(project: Path, folder: Path, state: str, want: dict) -> None:
    """Bring `folder` from `state` to "ready". Killed at any instant, it is "half-made" and made anew by the next call."""
    begun = time.monotonic()
    folder.mkdir(exist_ok=True)
    write_marker(folder, {"state": "started"})
    if state != "outdated":
        for old in folder.iterdir():  # the marker stays: without it what is left would look foreign
            if old.name != MARKER:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        # A Python that itself lives in an environment (perhaps in this one) would make a chain: take the one below it.
        base = getattr(sys, "_base_executable", None) or sys.executable
        cure = "Choose another Python: MLCOURSE_PYTHON=python3.12 make run"
        first_that_works("making the environment", folder, [base, "-m", "venv", folder], cure=cure)
    say("  uv, which installs the rest")
    first_that_works("installing uv", folder, pip(folder, "install", f"uv=={pinned(project, 'uv')}"), cure=NETWORK)
    version = pinned(project, "torch")
    say(f"  PyTorch {version}")
    install_torch(folder, version)
    locked = project / "requirements.txt"
    say(f"  {len(re.findall(r'^[^#].*==', locked.read_text(), re.MULTILINE))} packages of requirements.txt")
    # Without dependencies, because the list is complete. pip comes second: it may know a mirror that uv does not.
    for step, what in (("installing requirements.txt", ("-r", locked)), ("installing mlcourse", ("--editable", project))):
        commands = (tool(folder, "install", "--no-deps", *what) for tool in (uv_pip, pip))
        first_that_works(step, folder, *commands, cure=NETWORK)
    cure = "requirements.txt doesn't fit pyproject.toml: remake it with `make lock`."
    first_that_works("checking the packages against one another", folder, uv_pip(folder, "check"), cure=cure)
    write_marker(folder, want | {"state": "ready"})
    say(f"  ready after {time.monotonic() - begun:.0f} s")


def write_marker(folder: Path, content: dict) -> None:
    new = folder / (MARKER + ".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(new, folder / MARKER)


@contextlib.contextmanager
def one_at_a_time(project: Path):
    """Hold the lock of the project folder: of two `make`s started together the second waits, then finds all ready."""
    handle = os.open(project, os.O_RDONLY) if fcntl else None
    try:
        if handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Waiting for another make that is setting up this folder ...")
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError:  # a network file system without locks
                pass
        yield
    finally:
        if handle is not None:
            os.close(handle)


def ensure(project: Path) -> Path:
    """The folder of an environment that is ready, made or mended where it was not."""
    want = wanted(project)
    folder, state = choose(project, want)
    if state == "ready":
        return folder
    with one_at_a_time(project):
        folder, state = choose(project, want)  # another make may have made it while this one waited
        if folder.name != FOLDERS[0]:
            say(f"The .venv here was made by something else and is left alone; this project uses {folder.name}.")
        if state != "ready":
            why = "" if state == "absent" else f" (the one here is {state})"
            say(f"Setting up {folder.name} with Python {want['python']}{why}; this takes minutes, once:")
            make(project, folder, state, want)
    return folder


def main(arguments: list[str]) -> int:
    if not arguments:
        say("usage: tools/env COMMAND [ARGUMENT ...]    (runs COMMAND in the project's environment)")
        return 2
    project = Path(__file__).resolve().parent.parent
    try:
        folder = ensure(project)
    except Failed as problem:
        say(f"\nThe environment could not be set up: {problem}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted. The next run starts the set-up anew.")
        return 130
    variables = inside(folder)
    program = shutil.which(arguments[0], path=variables["PATH"])
    if program is None:
        say(f"there is no command {arguments[0]!r}, neither in {folder.name} nor on the PATH.")
        return 127
    os.chdir(project)
    os.execve(program, [program, *arguments[1:]], variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
