"""`python -m mlcourse report FOLDER` into a page and a table about a folder of students' notebooks.

Exit status: 0 the report is written, whatever is in the notebooks; 2 there was nothing to report on; 130 stopped by Ctrl-C.
"""

import argparse
import datetime
import importlib.util
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from mlcourse.files import write_whole
from mlcourse.report import box, page
from mlcourse.report.submission import Limits, Submission, examine

HINT = """Each notebook runs in a process of its own, on a copy, and its answers are checked afresh: stored outputs and progress
files count for nothing. It may still be code of a stranger: mark on a machine where that is acceptable."""

DEFAULT = Limits()


def notebooks_in(folder: Path) -> dict[str, Path]:
    """Student -> notebook: its path in the folder, without the ending. Jupyter's own copies are left out."""
    paths = [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def report(folder: Path, *, out: Path, limits: Limits = DEFAULT, workers: int = 1, progress: bool = True) -> list[Submission]:
    """Run every notebook in the folder, and write `report.html` and `report.csv` into `out`.

    Raises:
        ValueError: the folder has no notebooks.
    """
    found = notebooks_in(folder)
    if not found:
        raise ValueError(f"{folder} holds no notebooks (*.ipynb). Give the folder with what the students handed in.")
    tightest, stop = box.best(), threading.Event()

    def one(item: tuple[str, Path]) -> Submission:
        try:
            return examine(item[1], item[0], limits=limits, box=tightest, stop=stop)
        except Exception as error:  # of this machine, such as a full disk: it costs this row
            return Submission(item[0], None, {}, (), f"it could not be run here: {type(error).__name__}: {error}", 0.0)

    with ThreadPoolExecutor(workers) as pool:
        try:
            done = list(tqdm(pool.map(one, found.items()), total=len(found), unit="notebook", disable=not progress))
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    made = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "report.csv": page.as_csv(done),
        "report.html": page.as_html(done, held_back=tightest.words, made=made),
    }.items():
        write_whole(out / name, text.encode(errors="backslashreplace"))  # students can put half a character into a message
    return done


def main(argv: list[str]) -> int:
    """Run a folder of students' notebooks and report who solved what, and which mistakes were made how often."""
    parser = argparse.ArgumentParser(prog="mlcourse report", description=main.__doc__, epilog=HINT)
    parser.add_argument("folder", type=Path, help="with the notebooks, or with one folder a student")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/report"), help="for report.html and report.csv (default: runs/report)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="notebooks at a time (default: 1)")
    parser.add_argument(
        "--time-limit", type=float, default=DEFAULT.seconds, metavar="SECONDS", help="of a notebook (%(default)g)"
    )
    parser.add_argument(
        "--cell-limit", type=float, default=DEFAULT.cell_seconds, metavar="SECONDS", help="of a cell (%(default)g)"
    )
    parser.add_argument("--memory-limit", type=float, default=DEFAULT.memory, metavar="GIB", help="of a notebook (%(default)g)")
    options = parser.parse_args(argv)
    if importlib.util.find_spec("resource") is None:
        print("the report needs the process limits of Linux or macOS; on Windows run it in WSL.", file=sys.stderr)
        return 2
    limits = Limits(options.time_limit, options.cell_limit, options.memory_limit)
    if options.workers < 1 or not min(limits) > 0:
        print(f"limits {tuple(limits)} and workers {options.workers} must be positive.", file=sys.stderr)
        return 2
    try:
        done = report(options.folder, out=options.out, limits=limits, workers=options.workers)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; no report was written.", file=sys.stderr)
        return 130
    troubled = sum(one.problem is not None for one in done)
    print(f"{len(done)} notebooks, {troubled} with a problem. Each ran with: {box.best().words}.")
    for exercise, words, who in page.mistakes(done)[:5]:
        print(f"  {exercise}, {len(who)} student{'s' * (len(who) > 1)}: {words or 'wrong in a way without a name'}")
    print(f"page: {options.out / 'report.html'}   table: {options.out / 'report.csv'}")
    return 0
