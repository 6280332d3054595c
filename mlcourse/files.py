"""Content into a file that is there whole or not at all, whatever happens while it is written."""

import contextlib
import os
from pathlib import Path


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write beside the file, wait until the disk has it, and only then put it in the file's place.

    Readers meet the old file or the new one; so does whoever comes after a full disk, a kill or a crash of the machine.

    Args:
        content: text is written as UTF-8, with the ends of lines that it has.

    Raises:
        OSError: it could not be written. The old file is as it was.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.txt")
    >>> write_whole(path, "whole")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('whole', 1)
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(new, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError, AttributeError):  # the name too, where a folder can be flushed
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
