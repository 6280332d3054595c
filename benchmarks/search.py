"""Four functions and eight searches -> regret after 20 and 50 evaluations, CPU a suggestion: `search_results.md`.

The peers are no dependencies of the course. They live in environments of their own, once:

    uv venv runs/search-env
    uv pip install --python runs/search-env --torch-backend=cpu torch
    uv pip install --python runs/search-env -e . optuna botorch scikit-optimize bayesian-optimization
    uv venv runs/bayex-env
    uv pip install --python runs/bayex-env jax==0.7.2 bayex scipy

Then `make bench-search`, which is

    nice runs/search-env/bin/python benchmarks/search.py run      # hours to nothing: finished rows are kept
    nice runs/bayex-env/bin/python benchmarks/search.py run --methods bayex
    nice runs/search-env/bin/python benchmarks/search.py table    # rows -> benchmarks/search_results.md

`run` without `--methods` does all but bayex; `run --methods mlcourse,random --seeds 5` does a part. One row for each
(method, function, seed) is appended to runs/search/rows.jsonl the moment it is done, so a run that was stopped goes on where
it was (benchmarks/search_rows.jsonl holds the rows behind the stored table: copy it there to go on from them); delete the
file to start again. Everything runs on one thread.

Rules of the comparison
- Every function is maximised. The regret after n evaluations is the maximum of the function less the largest
  *noise-free* value among the n points tried: no method gets credit for a lucky reading.
- Every method runs with the defaults of its library, its own start included. BoTorch and bayex bring no start:
  they get 5 scrambled Sobol points, Ax's default.
- bayex scores 2 000 candidates a suggestion, not its 10 000: it builds their whole covariance, and 10 000 took
  16 times the CPU (0.9 s a suggestion).
- The noise of the gold field is the same for every method: it depends on the seed and the evaluation only.
- bayex runs with JAX 0.7.2, the others with the newest they take. With JAX 0.10.2 on two cores bayex hung inside a suggestion
  in 8 of 8 runs. A hung run looked at in a debugger had every thread of jaxlib's pool in `ParallelBatchMap`: that jaxlib shares
  a batch of triangular systems (bayex solves 50 at once) out over the pool and waits for it on the threads of the same pool,
  so two such solves can wait for each other for ever. JAX 0.7.2 has no such sharing.
- A run that is silent for 5 minutes is given up and keeps the regret it had; the table says how many.
- CPU a suggestion is `time.process_time` of everything a method does between two evaluations (its ask and its
  tell), the median over evaluations 11 to 50, which leaves compilation and random starts out.
- The settings of mlcourse.search were chosen on seeds 1000 and above; seeds 0 to 19 are reported.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # before NumPy is imported: it reads them then
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")

import numpy as np

ROWS = Path("runs/search/rows.jsonl")
RESULTS = Path("benchmarks/search_results.md")
NUM_EVALUATIONS, REPORTED, SEEDS = 50, (20, 50), 20
SECONDS_OF_PATIENCE = 300


# ---------------------------------------------------------------- the functions, all maximised


class Problem(NamedTuple):
    """A function on a box. `maximum` is its largest value, `noise` the standard deviation of a reading."""

    f: Callable[[np.ndarray], float]
    low: np.ndarray  # (d,)
    high: np.ndarray  # (d,)
    maximum: float
    noise: float = 0.0


def wave(x: np.ndarray) -> float:
    """-(1.4 - 3x) sin(18x) on [0, 2]: hills that grow towards 2, the highest of 4.1 at 1.83."""
    return -(1.4 - 3 * x[0]) * np.sin(18 * x[0])


def branin(x: np.ndarray) -> float:
    """Less Branin's function on [-5, 10] x [0, 15]: three equal maxima of -0.397887."""
    a, b = x
    return -((b - 5.1 * a**2 / (4 * np.pi**2) + 5 * a / np.pi - 6) ** 2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


HARTMANN_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
                       [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])  # fmt: skip
HARTMANN_P = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                              [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])  # fmt: skip


def hartmann6(x: np.ndarray) -> float:
    """Less Hartmann's function on the unit cube of 6 dimensions: four bumps, the highest of 3.32237."""
    return float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-np.sum(HARTMANN_A * (x - HARTMANN_P) ** 2, axis=1)))


DEPOSITS = np.array([[0.72, 0.28, 0.12, 1.0], [0.25, 0.70, 0.15, 0.8],
                     [0.15, 0.15, 0.08, 0.5], [0.85, 0.85, 0.10, 0.6]])  # east, north, width (km), grams per tonne  # fmt: skip


def gold(x: np.ndarray) -> float:
    """Grams of gold per tonne at (east, north) on a field of 1 km by 1 km: four deposits, the richest of 1.0005."""
    distance2 = np.sum((x - DEPOSITS[:, :2]) ** 2, axis=1)
    return float(DEPOSITS[:, 3] @ np.exp(-distance2 / (2 * DEPOSITS[:, 2] ** 2)))


def polished_maximum(f: Callable, start: list[float]) -> float:
    from scipy.optimize import minimize

    return -minimize(lambda x: -f(x), start, method="Nelder-Mead", options={"xatol": 1e-12, "fatol": 1e-15}).fun


PROBLEMS = {
    "wave": Problem(wave, np.array([0.0]), np.array([2.0]), polished_maximum(wave, [1.83])),
    "branin": Problem(branin, np.array([-5.0, 0.0]), np.array([10.0, 15.0]), polished_maximum(branin, [3.1, 2.3])),
    "hartmann6": Problem(hartmann6, np.zeros(6), np.ones(6),
                         polished_maximum(hartmann6, [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573])),
    "gold": Problem(gold, np.zeros(2), np.ones(2), polished_maximum(gold, [0.72, 0.28]), noise=0.05),
}  # fmt: skip


# ---------------------------------------------------------------- the methods: problem, seed -> ask, tell


def mlcourse_(problem: Problem, seed: int):
    from mlcourse.search import Real, Search

    space = {f"x{i}": Real(lo, hi) for i, (lo, hi) in enumerate(zip(problem.low, problem.high, strict=True))}
    search = Search(space, strategy="bayes", maximize=True, seed=seed)

    def ask():
        return np.array(list(search.ask().values()))

    def tell(x, y):
        search.tell({f"x{i}": v for i, v in enumerate(x.tolist())}, y)

    return ask, tell


def random_(problem: Problem, seed: int):
    rng = np.random.default_rng(seed)
    return lambda: rng.uniform(problem.low, problem.high), lambda x, y: None


def optuna_(problem: Problem, sampler):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {f"x{i}": optuna.distributions.FloatDistribution(lo, hi)
             for i, (lo, hi) in enumerate(zip(problem.low, problem.high, strict=True))}  # fmt: skip
    asked = []

    def ask():
        asked.append(study.ask(space))
        return np.array([asked[-1].params[name] for name in space])

    return ask, lambda x, y: study.tell(asked[-1], y)


def optuna_tpe(problem: Problem, seed: int):
    import optuna

    return optuna_(problem, optuna.samplers.TPESampler(seed=seed))


def optuna_gp(problem: Problem, seed: int):
    import optuna

    return optuna_(problem, optuna.samplers.GPSampler(seed=seed))


def botorch_(problem: Problem, seed: int):
    import torch
    from botorch.acquisition import LogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from scipy.stats import qmc

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    d, width = len(problem.low), problem.high - problem.low
    start = qmc.Sobol(d, rng=np.random.default_rng(seed)).random(8)[:5]
    unit, values = [], []

    def ask():
        if len(values) < len(start):
            return problem.low + width * start[len(values)]
        x, y = torch.tensor(np.array(unit)), torch.tensor(values, dtype=torch.float64)[:, None]
        model = SingleTaskGP(x, y)  # standardises y by default
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        bounds = torch.tensor(np.array([np.zeros(d), np.ones(d)]))
        best, _ = optimize_acqf(LogExpectedImprovement(model, best_f=y.max()), bounds=bounds, q=1,
                                num_restarts=10, raw_samples=512)  # fmt: skip
        return problem.low + width * best[0].numpy()

    def tell(x, y):
        unit.append((x - problem.low) / width)
        values.append(y)

    return ask, tell


BAYEX = {}  # one optimizer a function: bayex compiles again for every new one


def bayex_(problem: Problem, seed: int):
    import bayex
    import jax
    from scipy.stats import qmc

    names = [f"x{i}" for i in range(len(problem.low))]
    if problem.f not in BAYEX:
        domain = {n: bayex.domain.Real(lo, hi) for n, lo, hi in zip(names, problem.low, problem.high, strict=True)}
        BAYEX[problem.f] = bayex.Optimizer(domain, maximize=True)
    optimizer = BAYEX[problem.f]
    start = problem.low + (problem.high - problem.low) * qmc.Sobol(
        len(names), rng=np.random.default_rng(seed)).random(8)[:5]  # fmt: skip
    told, state, keys = [], [], iter(jax.random.split(jax.random.key(seed), NUM_EVALUATIONS + 1))

    def ask():
        if len(told) < len(start):
            return start[len(told)]
        suggestion = optimizer.sample(next(keys), state[-1], size=2000)  # see the docstring
        return np.array([np.asarray(suggestion[n]).item() for n in names], dtype=float)

    def tell(x, y):
        told.append((x, y))
        if len(told) == len(start):
            xs, ys = np.array([p for p, _ in told]), np.array([v for _, v in told])
            state.append(optimizer.init(ys, dict(zip(names, xs.T, strict=True))))
        elif len(told) > len(start):
            state.append(optimizer.fit(state.pop(), y, dict(zip(names, x, strict=True))))
            jax.block_until_ready(state[-1])

    return ask, tell


def scikit_optimize(problem: Problem, seed: int):
    import skopt

    optimizer = skopt.Optimizer(list(zip(problem.low, problem.high, strict=True)), random_state=seed)
    return lambda: np.array(optimizer.ask()), lambda x, y: optimizer.tell(x.tolist(), -y)


def bayesian_optimization(problem: Problem, seed: int):
    from bayes_opt import BayesianOptimization

    names = [f"x{i}" for i in range(len(problem.low))]
    bounds = {n: (lo, hi) for n, lo, hi in zip(names, problem.low, problem.high, strict=True)}
    optimizer = BayesianOptimization(None, bounds, random_state=seed, verbose=0, allow_duplicate_points=True)
    rng, told = np.random.default_rng(seed), []

    def ask():
        if len(told) < 5:  # `maximize` starts with 5 random points
            return rng.uniform(problem.low, problem.high)
        suggestion = optimizer.suggest()
        return np.array([suggestion[n] for n in names], dtype=float)

    def tell(x, y):
        told.append(y)
        optimizer.register(dict(zip(names, x.tolist(), strict=True)), y)

    return ask, tell


METHODS = {  # name: how to start it, the distribution whose version is reported
    "mlcourse": (mlcourse_, "mlcourse"),
    "random": (random_, "numpy"),
    "optuna-tpe": (optuna_tpe, "optuna"),
    "optuna-gp": (optuna_gp, "optuna"),
    "botorch": (botorch_, "botorch"),
    "bayex": (bayex_, "bayex"),
    "scikit-optimize": (scikit_optimize, "scikit-optimize"),
    "bayesian-optimization": (bayesian_optimization, "bayesian-optimization"),
}


# ---------------------------------------------------------------- run


class Watch(NamedTuple):
    """What a run has reached: the noise-free values and the CPU milliseconds so far, and when it last got an answer."""

    values: list[float]
    milliseconds: list[float]
    heard: list[float]


def run_one(start: Callable, problem: Problem, *, seed: int, watch: Watch) -> None:
    """One search of 50 evaluations, noted in `watch` as it goes."""
    noise = problem.noise * np.random.default_rng([seed, 7]).standard_normal(NUM_EVALUATIONS)
    ask, tell = start(problem, seed)
    values, milliseconds = watch.values, watch.milliseconds
    for i in range(NUM_EVALUATIONS):
        watch.heard.append(time.monotonic())
        began = time.process_time()
        x = np.clip(ask(), problem.low, problem.high)
        spent = time.process_time() - began
        values.append(float(problem.f(x)))
        began = time.process_time()
        tell(x, values[-1] + float(noise[i]))
        milliseconds.append(1e3 * (spent + time.process_time() - began))


def row(method: str, function: str, seed: int, watch: Watch) -> dict:
    """What is kept of a run. One that stopped early keeps the regret it had."""
    values = watch.values + [-np.inf] * (NUM_EVALUATIONS - len(watch.values))
    regret = np.maximum(PROBLEMS[function].maximum - np.maximum.accumulate(values), 0.0)
    return {"method": method, "version": importlib.metadata.version(METHODS[method][1]), "function": function, "seed": seed,
            "evaluations": len(watch.values), "regret": regret.tolist(),
            "cpu_ms": float(np.median(watch.milliseconds[10:] or [np.nan]))}  # fmt: skip


def keep(row: dict) -> None:
    """One line more in the file of rows, on a line of its own even where the last one was cut short."""
    with ROWS.open("a") as file:
        file.write("\n" * (ROWS.stat().st_size > 0) + json.dumps(row))
    print(f"{row['method']} {row['function']} seed {row['seed']}: regret {row['regret'][19]:.2g} after 20, "
          f"{row['regret'][-1]:.2g} after {row['evaluations']}, {row['cpu_ms']:.1f} ms a suggestion", flush=True)  # fmt: skip


def give_up_when_silent(make_row: Callable[[], dict], heard: list[float], done: threading.Event) -> None:
    """Keeps the row of a run that hangs in compiled code, where nothing can stop it, and starts this program again."""
    while not done.wait(1.0):
        if heard and time.monotonic() - heard[-1] > SECONDS_OF_PATIENCE:
            keep(make_row())
            os.execv(sys.executable, [sys.executable, *sys.argv])


def read_rows() -> list[dict]:
    """The finished rows; a line cut short by a kill is left out and its run is done again."""
    rows = []
    for line in ROWS.read_text().splitlines() if ROWS.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def run(methods: list[str], functions: list[str], seeds: range) -> None:
    """Appends the rows that are missing, one line each."""
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["method"], r["function"], r["seed"]) for r in read_rows()}
    for method in methods:
        for function in functions:
            for seed in seeds:
                if (method, function, seed) in done:
                    continue
                watch, finished = Watch([], [], []), threading.Event()
                make_row = functools.partial(row, method, function, seed, watch)
                threading.Thread(target=give_up_when_silent, args=(make_row, watch.heard, finished), daemon=True).start()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # convergence chatter of the peers
                    run_one(METHODS[method][0], PROBLEMS[function], seed=seed, watch=watch)
                finished.set()
                keep(make_row())


# ---------------------------------------------------------------- table


def quartiles(rows: list[dict], method: str, function: str, n: int) -> np.ndarray | None:
    """(3,) lower quartile, median, upper quartile of the regret after n evaluations; None until all seeds are done."""
    regrets = [r["regret"][n - 1] for r in rows if (r["method"], r["function"]) == (method, function)]
    return np.quantile(regrets, [0.25, 0.5, 0.75]) if len(regrets) >= SEEDS else None


def table(rows: list[dict]) -> str:
    """The results as Markdown: a regret table for each number of evaluations, then the CPU time."""
    methods = [m for m in METHODS if any(r["method"] == m for r in rows)]
    count = {(m, f): sum((r["method"], r["function"]) == (m, f) for r in rows) for m in methods for f in PROBLEMS}
    lines = ["# Search: regret and CPU time", "", "Made by `make bench-search` (`benchmarks/search.py`, which has the rules and"
             f" how to install the peers). Median over {SEEDS} seeds (quartiles)."
             " **Bold**: the best median, or a median not above the best's upper quartile.", ""]  # fmt: skip
    for n in REPORTED:
        cells = {(m, f): quartiles(rows, m, f, n) for m in methods for f in PROBLEMS}
        lines += [f"## Regret after {n} evaluations", "", "| method | " + " | ".join(PROBLEMS) + " |",
                  "|---" * (1 + len(PROBLEMS)) + "|"]  # fmt: skip
        finished = {f: [cells[m, f] for m in methods if cells[m, f] is not None] for f in PROBLEMS}
        limit = {f: min(finished[f], key=lambda q: q[1])[2] if finished[f] else np.inf for f in PROBLEMS}
        for m in methods:
            texts = []
            for f in PROBLEMS:
                if cells[m, f] is None:
                    texts.append(f"{count[m, f]} of {SEEDS} seeds")
                    continue
                low, median, high = cells[m, f]
                mark = "**" if median <= limit[f] else ""
                texts.append(f"{mark}{median:.2g}{mark} ({low:.2g} to {high:.2g})")
            lines.append(f"| {m} | " + " | ".join(texts) + " |")
        lines.append("")
    lines += ["## CPU milliseconds a suggestion, after compilation", "", "| method | version | given up | "
              + " | ".join(PROBLEMS) + " |", "|---" * (3 + len(PROBLEMS)) + "|"]  # fmt: skip
    for m in methods:
        own = [r for r in rows if r["method"] == m]
        times = [[r["cpu_ms"] for r in own if r["function"] == f and np.isfinite(r["cpu_ms"])] for f in PROBLEMS]
        given_up = sum(r.get("evaluations", NUM_EVALUATIONS) < NUM_EVALUATIONS for r in own)
        lines.append(f"| {m} | {own[-1]['version']} | {given_up} of {len(own)} | "
                     + " | ".join(f"{np.median(t):.1f}" if t else "" for t in times) + " |")  # fmt: skip
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    lines += ["", f"{versions}, one thread. bayex with JAX 0.7.2 (why: the rules)."]
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--methods", default=",".join(m for m in METHODS if m != "bayex"), type=lambda s: s.split(","))
    parser.add_argument("--functions", default=",".join(PROBLEMS), type=lambda s: s.split(","))
    parser.add_argument("--seeds", default=SEEDS, type=int)
    arguments = parser.parse_args(argv)
    if arguments.what == "run":
        run(arguments.methods, arguments.functions, range(arguments.seeds))
    else:
        RESULTS.write_text(table([r for r in read_rows() if r["seed"] < SEEDS]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
