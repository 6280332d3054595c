"""pyproject.toml into requirements.txt: the exact versions everything here is tested with.

    tools/env python tools/lock.py [--upgrade]

Versions that still fit are kept; `--upgrade` takes the newest. PyTorch stays at the version installed here, because
its CPU build may come from another place than the rest; to move it, install the new one first and run this again.
"""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Not part of the tested set. CUDA: the default PyTorch for Linux asks for it, the CPU build doesn't. rfc3987-syntax: an
# optional part of jsonschema that nothing in Jupyter uses; it costs every notebook tool about 0.8 s at each start.
LEFT_OUT = re.compile(r"(nvidia-|cuda-|triton|rfc3987-syntax)")
HEADER = "# Made by `make lock` from pyproject.toml: the set this course is tested with (Python 3.11, CPU).\n"


def keep(lines: list[str]) -> list[str]:
    """The lines of the lock without CUDA and with PyTorch's public version.

    >>> keep(["numpy==2.4.6", "nvidia-cublas==13.0", "torch==2.13.0+cpu", "triton==3.9.0"])
    ['numpy==2.4.6', 'torch==2.13.0']
    """
    kept = (re.sub(r"(==[\w.]+)\+\w+", r"\1", line) for line in lines if not LEFT_OUT.match(line))
    return list(dict.fromkeys(kept))


def main(arguments: list[str]) -> int:
    lock = PROJECT / "requirements.txt"
    torch = importlib.metadata.version("torch").partition("+")[0]
    with tempfile.TemporaryDirectory() as folder:
        constraint, out = Path(folder, "constraint.txt"), Path(folder, "requirements.txt")
        constraint.write_text(f"torch=={torch}\n")
        if lock.exists():
            out.write_text(lock.read_text())  # uv keeps what it finds there
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            "--extra=dev",
            "--universal",
            "--python-version=3.11",
            "--fork-strategy=fewest",
            "--constraint",
            constraint,
            "--output-file",
            out,
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "--no-emit-find-links",
            "--quiet",
            *arguments,
        ]
        done = subprocess.run(command, cwd=PROJECT)
        if done.returncode:
            return done.returncode
        lines = keep(out.read_text().splitlines())
    lock.write_text(HEADER + "\n".join(lines) + "\n")
    print(f"requirements.txt: {len(lines)} packages, PyTorch {torch}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
