"""A command into one that runs shut in: without a network, writing nowhere but into one folder, its children ended with it.

Linux does this with namespaces, which ordinary users may make on most systems (`unshare`). Where that is not so, less is had,
and `Box.words` says what.
"""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

# Makes every file system read-only but the one folder, then runs the command there. `/dev/shm` is where Python's processes
# share locks.
SHUT = """
place="$1"; shift
mount --bind "$place" "$place" || exit 99
while read -r _ there _; do
  test "$there" = "$place" || mount -o remount,bind,ro "$there" 2>/dev/null
done < /proc/self/mounts
mount -t tmpfs -o size=64m tmpfs /dev/shm 2>/dev/null
cd "$place" && exec "$@"
"""
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]


class Box(NamedTuple):
    """A way to run a command; `words` say what it holds back."""

    name: str
    words: str

    def command(self, folder: Path, words: list[str]) -> list[str]:
        """The command that runs `words` in that folder."""
        if self.name == "files":
            return [*NAMESPACES, "--mount", "sh", "-c", SHUT, "sh", str(folder.resolve()), *words]
        return [*NAMESPACES, *words] if self.name == "network" else words


BOXES = (
    Box("files", "no network, no writing outside its own copy, and no process left over (namespaces of Linux)"),
    Box("network", "no network and no process left over (namespaces of Linux); files outside its copy could be written"),
    Box("none", "connections refused inside Python only; files outside its copy could be written"),
)


@functools.cache
def best() -> Box:
    """The tightest box that works on this system."""
    return next(box for box in BOXES if works(box))


def works(box: Box) -> bool:
    if box.name == "none":
        return True
    if shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as inside, tempfile.TemporaryDirectory() as outside:
        probe = ["sh", "-c", f"touch here; touch {outside}/there 2>/dev/null; true"]
        try:
            done = subprocess.run(box.command(Path(inside), probe), cwd=inside, capture_output=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return False
        leaked = Path(outside, "there").exists()
        return done.returncode == 0 and Path(inside, "here").exists() and not (leaked and box.name == "files")
