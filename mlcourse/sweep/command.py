"""`python -m mlcourse sweep NOTEBOOK -p NAME VALUES ... --out FOLDER` into a sweep and an exit status.

Exit status: 0 every trial is done and well, 1 some failed, 2 refused before anything ran, 3 stopped by a full disk or a lost
cluster, 130 stopped by Ctrl-C.
"""

import argparse
import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlcourse.sweep.parameters import SweepError, declared, find, values_of_text
from mlcourse.sweep.run import Outcome, read_notebook, sweep
from mlcourse.sweep.trials import read_yaml
from mlcourse.sweep.workers import SweepStopped

EXAMPLES = """values of a parameter:
  0.01,0.03,0.1          a list             0:5                 the integers 0 to 4
  log:1e-4:1e-1          random, with --samples N; uniform in the logarithm
  uniform:16:256         random, with --samples N
  "[128,64],[256]"       two lists          none, true, 'a,b'   None, True, text with a comma
examples:
  python -m mlcourse sweep notebooks/01_training_loop.ipynb -p learning_rate 0.01,0.1 -p seed 0:5 --workers 2 --out runs/lr
  python -m mlcourse sweep notebooks/01_training_loop.ipynb --config sweep.yaml --out runs/random
  python -m mlcourse sweep notebooks/01_training_loop.ipynb -p learning_rate log:1e-3:1 --search bayes \\
      --metric validation_loss --samples 12 --out runs/best
exit status: 0 all well, 1 some trials failed, 2 refused, 3 disk full or cluster lost, 130 Ctrl-C.
The same command again runs what is missing."""


def main(argv: list[str]) -> int:
    try:
        pairs, rest = taken(argv)
    except SweepError as error:
        return refused(error)
    arguments = parser().parse_args(rest)
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        given = settings(declared(read_notebook(Path(arguments.notebook))), pairs, arguments)
        outcome = runner(arguments, given)(
            arguments.notebook, out=arguments.out, workers=arguments.workers, retries=arguments.retries,
            seconds=arguments.time_limit, memory=arguments.memory_limit, retry_failed=arguments.retry_failed,
            scheduler=arguments.scheduler, fork=not arguments.no_fork, track=not arguments.no_track, **given,
        )  # fmt: skip
    except SweepError as error:
        return refused(error)
    except SweepStopped as error:
        print(f"\n{error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"\nStopped. The trials that are done are in {arguments.out}; the same command runs the others.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)
    print(summary(outcome))
    if arguments.search:
        print(best_words(outcome, arguments))
    return 1 if outcome.failed else 0


def runner(arguments: argparse.Namespace, given: dict[str, Any]) -> Callable[..., Outcome]:
    """`sweep`, or the search that was asked for."""
    if not arguments.search:
        if arguments.metric or arguments.maximize:
            raise SweepError("--metric and --maximize belong to a search: add --search bayes.")
        return sweep
    if not arguments.metric:
        raise SweepError("--search needs the recorded number that decides: --metric validation_loss.")
    if given.pop("trials", None):
        raise SweepError("a search chooses its trials itself; leave out `trials`.")
    from mlcourse.sweep.searched import searched

    given.setdefault("samples", 0)
    return functools.partial(searched, strategy=arguments.search, metric=arguments.metric, maximize=arguments.maximize)


def best_words(outcome: Outcome, arguments: argparse.Namespace) -> str:
    from mlcourse.sweep.searched import best

    row = best(outcome.rows, arguments.metric, maximize=arguments.maximize)
    if row is None:
        return f"best: none, as no trial recorded {arguments.metric}"
    return (
        f"best: trial {row['trial']}, {arguments.metric} = {row['metrics'][arguments.metric]['value']:.4g}: {row['notebook']}"
    )


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def refused(error: SweepError) -> int:
    print(f"{error}\nNothing was run.", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="mlcourse sweep", description="Run a notebook once for each combination of parameters.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = made.add_argument
    add("notebook")
    add("-p", "--parameter", nargs=2, metavar=("NAME", "VALUES"), help="a parameter and its values; once for each parameter")
    add("--config", metavar="FILE", help="YAML with the keys parameters, trials, samples, sample_seed")
    add("--samples", type=int, metavar="N", help="how many random samples to draw from the ranges")
    add("--sample-seed", type=int, metavar="S", help="of the draws (default: 0)")
    add(
        "--search",
        metavar="STRATEGY",
        help="let random, sobol, bayes, active or grid choose the trials among ranges and values",
    )
    add("--metric", metavar="NAME", help="the recorded number that a search makes small")
    add("--maximize", action="store_true", help="... or large")
    add("--out", required=True, metavar="FOLDER", help="for the notebooks and the table; one folder is one sweep")
    add("--workers", type=int, default=1, metavar="N", help="trials at a time (default: 1)")
    add("--retries", type=int, default=1, metavar="N", help="further attempts when a kernel or worker dies (default: 1)")
    add("--time-limit", type=float, metavar="SECONDS", help="of each trial")
    add("--memory-limit", type=float, metavar="GIB", help="of each trial, resident memory")
    add("--retry-failed", action="store_true", help="run trials that failed before again")
    add("--scheduler", metavar="ADDRESS", help="run the trials on this Dask cluster, for example tcp://host:8786")
    add("--no-fork", action="store_true", help="start ordinary kernels")
    add("--no-track", action="store_true", help="log nothing to Trackio (see `python -m mlcourse dashboard`)")
    return made


def taken(argv: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs after `-p`, and the other words. argparse would take the value -1,1 for an option.

    >>> taken(["a.ipynb", "-p", "shift", "-1,1"])
    ([('shift', '-1,1')], ['a.ipynb'])
    """
    pairs, rest, words = [], [], iter(argv)
    for word in words:
        if word not in ("-p", "--parameter"):
            rest.append(word)
            continue
        name, values = next(words, None), next(words, None)
        if values is None:
            raise SweepError("-p needs a name and values, for example: -p seed 0:5")
        if name in dict(pairs):
            raise SweepError(f"-p {name} stands there twice; write one list: -p {name} {dict(pairs)[name]},{values}")
        pairs.append((name, values))
    return pairs, rest


def settings(known: dict, pairs: list[tuple[str, str]], arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `sweep` that say what is run, from the file and the words; words go before the file."""
    found = read_yaml(arguments.config) if arguments.config else {}
    found["given"] = found.pop("parameters", None) or {}
    found["given"] |= {name: values_of_text(find(known, name), text) for name, text in pairs}
    for name in ("samples", "sample_seed"):
        if (value := getattr(arguments, name)) is not None:
            found[name] = value
    return found


def summary(outcome: Outcome) -> str:
    failed = [row for row in outcome.rows if row["status"] != "ok"]
    lines = [f"{outcome.folder}: {len(outcome.rows)} trials, {len(failed)} failed"]
    for row in failed[:10]:
        lines.append(f"  {row['notebook']}: {row['error'].splitlines()[0]}")
    if len(failed) > 10:
        lines.append(f"  and {len(failed) - 10} more")
    lines.append(f"table: {outcome.folder / 'results.csv'}   report: {outcome.folder / 'report.html'}")
    return "\n".join(lines)
