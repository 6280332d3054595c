"""Bug hunts of lesson 08: selection on the test set, a seed that changes with every trial, a hyperparameter never used."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy

# 8.10 report(validation, test) -> chosen setting, its test error


def _report_cases() -> dict:
    def case(*settings: tuple[list[float], list[float]]) -> dict:
        validation, test = zip(*settings, strict=True)
        return {"validation": np.array(validation), "test": np.array(test)}

    lucky = case(
        ([0.10, 0.12, 0.11], [0.13, 0.14, 0.15]),
        ([0.09, 0.10, 0.08], [0.16, 0.17, 0.12]),
        ([0.20, 0.21, 0.19], [0.12, 0.10, 0.11]),
    )
    wide = np.random.default_rng(810).uniform(0.1, 0.3, size=(2, 4, 10))
    return {
        "another setting is lucky on the test set": lucky,
        "one lucky seed": case(([0.01, 0.4, 0.4], [0.3, 0.35, 0.31]), ([0.2, 0.21, 0.22], [0.25, 0.24, 0.29])),
        "two settings, five seeds": case(
            ([0.3, 0.2, 0.25, 0.2, 0.3], [0.1, 0.5, 0.3, 0.2, 0.4]), ([0.2, 0.2, 0.2, 0.26, 0.2], [0.3, 0.3, 0.35, 0.3, 0.3])
        ),
        "one setting": case(([0.2, 0.3], [0.25, 0.35])),
        "every second seed": {"validation": wide[0, :, ::2], "test": wide[1, :, ::2]},
    }


def _report(choose: Callable, error: Callable = lambda validation, test, i: test[i].mean()) -> Callable:
    def report(validation: Any, test: Any) -> tuple:
        validation, test = as_numpy(validation), as_numpy(test)
        i = choose(validation, test)
        return int(i), error(validation, test, i)

    return report


def _on_validation(validation: np.ndarray, test: np.ndarray) -> int:
    return validation.mean(axis=1).argmin()


REPORT = Exercise(
    id="8.10",
    name="report",
    title="Find the bug: the best of all test errors",
    minutes=10,
    difficulty=1,
    cases=_report_cases,
    reference=_report(_on_validation),
    mistakes=(
        Mistake(
            "The setting was still chosen by its *test* error. Of many settings one is lucky on the test set, and its error "
            "there is too good to be true. Choose by the mean validation error.",
            _report(lambda validation, test: test.mean(axis=1).argmin()),
        ),
        Mistake(
            "The setting is chosen on validation, but the error reported is the lowest test error of all settings.",
            _report(_on_validation, lambda validation, test, i: test.mean(axis=1).min()),
        ),
        Mistake(
            "The error reported is that of the seed which is best on the test set. Report the mean over the seeds.",
            _report(_on_validation, lambda validation, test, i: test[i].min()),
        ),
        Mistake(
            "The error reported is the validation error of the chosen setting. It was chosen for being low, so it is too low; "
            "report the test error.",
            _report(_on_validation, lambda validation, test, i: validation[i].mean()),
        ),
        Mistake(
            "The setting was chosen by its single luckiest seed on validation. Choose by the mean over the seeds.",
            _report(lambda validation, test: validation.min(axis=1).argmin()),
        ),
        Mistake(
            "Validation and test errors were averaged to choose. The test set then has a say in it.",
            _report(lambda validation, test: (validation + test).mean(axis=1).argmin()),
        ),
        Mistake(
            "The mean was taken over the settings (axis 0), so a seed was chosen. Average over the seeds: axis 1.",
            _report(lambda validation, test: min(validation.mean(axis=0).argmin(), len(test) - 1)),
        ),
        Mistake(
            "The setting with the *highest* validation error was chosen. These are errors: lower is better.",
            _report(lambda validation, test: validation.mean(axis=1).argmax()),
        ),
        Mistake(
            "The error reported is that of the seed which was best on validation. Report the mean over the seeds, which is "
            "what the next run may expect.",
            _report(_on_validation, lambda validation, test, i: test[i][validation[i].argmin()]),
        ),
    ),
    hints=("Which array does the choice look at?", "`best = validation.mean(axis=1).argmin()`, then the mean of `test[best]`."),
)


# 8.11 compare(train, settings, *, num_seeds, seed) -> errors (settings, num_seeds)


def train(learning_rate: float, *, seed: int) -> float:
    """train(learning_rate, *, seed): the validation error; what the seed adds is the same for every rate"""
    luck = np.random.default_rng([811, int(seed)]).normal()
    return float(0.2 + 0.05 * np.log10(float(learning_rate)) ** 2 + 0.03 * luck)


def _compare_cases() -> dict:
    def case(settings: list[float], num_seeds: int, seed: int) -> dict:
        return {"train": train, "settings": settings, "num_seeds": num_seeds, "seed": seed}

    return {
        "three rates, two seeds": case([0.01, 0.1, 1.0], 2, 0),
        "another first seed": case([0.1, 0.2], 4, 100),
        "one seed": case([0.5, 0.1], 1, 7),
        "rates in no order": case([1.0, 0.01, 0.3, 0.03], 3, 12),
        "one rate": case([0.2], 5, 3),
    }


def _run_compare(answer: Callable, train: Callable, settings: list, num_seeds: int, seed: int) -> Any:
    return answer(train, settings, num_seeds=num_seeds, seed=seed)


def _compare(seed_of: Callable, finish: Callable = lambda errors: errors, count: Callable = lambda n: n) -> Callable:
    def compare(train: Callable, settings: list, *, num_seeds: int, seed: int) -> Any:
        n = count(num_seeds)
        errors = [[train(s, seed=seed_of(seed, i, j, n)) for j in range(n)] for i, s in enumerate(settings)]
        return finish(np.array(errors))

    return compare


COMPARE = Exercise(
    id="8.11",
    name="compare",
    title="Find the bug: a seed that changes with every trial",
    minutes=10,
    difficulty=2,
    cases=_compare_cases,
    reference=_compare(lambda seed, i, j, n: seed + j),
    run=_run_compare,
    mistakes=(
        Mistake(
            "Every trial still has a seed of its own, so each setting meets other luck, and no two can be paired. Give every "
            "setting the same seeds: seed, seed + 1, ...",
            _compare(lambda seed, i, j, n: seed + i * n + j),
        ),
        Mistake(
            "All trials have the same seed: the columns are copies, and an interval over them has the width 0. Use seed, "
            "seed + 1, ...",
            _compare(lambda seed, i, j, n: seed),
        ),
        Mistake(
            "Each setting still has a seed of its own, the same for all its trials.",
            _compare(lambda seed, i, j, n: seed + i),
        ),
        Mistake(
            "The seeds begin at 0, whatever `seed` is. Then nobody can ask for fresh ones.",
            _compare(lambda seed, i, j, n: j),
        ),
        Mistake(
            "The seeds begin at seed + 1. The first one is `seed`.",
            _compare(lambda seed, i, j, n: seed + 1 + j),
        ),
        Mistake(
            "The seeds differ by the number of the setting: neighbours share all seeds but one, and no column is a pair.",
            _compare(lambda seed, i, j, n: seed + i + j),
        ),
        Mistake(
            "The table lies on its side: one row a setting, one column a seed.",
            _compare(lambda seed, i, j, n: seed + j, np.transpose),
        ),
        Mistake(
            "These are the means. Return every trial: what is paired is tested pair by pair.",
            _compare(lambda seed, i, j, n: seed + j, lambda errors: errors.mean(axis=1)),
        ),
        Mistake(
            "The seeds are multiplied with the number of the trial. Add it.",
            _compare(lambda seed, i, j, n: seed * j),
        ),
        Mistake(
            "The trials are in one long row. Give them the shape (settings, num_seeds).",
            _compare(lambda seed, i, j, n: seed + j, np.ravel),
        ),
    ),
    hints=(
        "Write down the seed of each trial for two settings and two seeds.",
        "A column of the table should hold what different settings did with the *same* luck.",
        "Start the seeds anew for every setting: `seed + i for i in range(num_seeds)`.",
    ),
)


# 8.12 random_search(train, ranges, *, trials, seed) -> rows


def train_with(*, learning_rate: float = 0.1, weight_decay: float = 1e-4, width: float = 64, clip: float = 1.0) -> float:
    """train(*, learning_rate=0.1, weight_decay=0.0001, width=64, clip=1.0): the validation error"""
    logs = np.log10([float(learning_rate), float(weight_decay), float(width), float(clip)])
    return float(0.1 + (np.array([0.03, 0.02, 0.01, 0.005]) * (logs - [-1.5, -3.0, 2.0, 0.5]) ** 2).sum())


def _search_cases() -> dict:
    def case(trials: int, seed: int, **ranges: tuple[float, float]) -> dict:
        return {"train": train_with, "ranges": ranges, "trials": trials, "seed": seed}

    return {
        "rate and decay": case(4, 0, learning_rate=(1e-3, 1.0), weight_decay=(1e-6, 1e-2)),
        "three ranges": case(3, 1, learning_rate=(1e-2, 1e-1), clip=(0.1, 10.0), width=(16.0, 256.0)),
        "no learning rate": case(3, 2, weight_decay=(1e-5, 1e-1)),
        "one trial": case(1, 5, width=(8.0, 512.0), learning_rate=(1e-4, 1.0)),
        "all four": case(2, 9, clip=(0.5, 2.0), weight_decay=(1e-4, 1e-3), learning_rate=(0.01, 1.0), width=(32.0, 64.0)),
    }


def _run_search(answer: Callable, train: Callable, ranges: dict, trials: int, seed: int) -> Any:
    return answer(train, {name: tuple(map(float, ends)) for name, ends in ranges.items()}, trials=trials, seed=seed)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _search(
    *,
    draw: Callable = _log_uniform,
    use: Callable = lambda config: config,
    row: Callable = lambda config, error: config | {"error": error},
    finish: Callable = lambda rows: rows,
    one_generator: bool = True,
    one_dict: bool = False,
) -> Callable:
    def random_search(train: Callable, ranges: dict, *, trials: int, seed: int) -> Any:
        rng, rows, shared = np.random.default_rng(seed), [], {}
        for _ in range(trials):
            if not one_generator:
                rng = np.random.default_rng(seed)
            config = {name: draw(rng, *ends) for name, ends in ranges.items()}
            error = train(**use(config))
            if one_dict:
                shared.update(row(config, error))
            rows.append(shared if one_dict else row(config, error))
        return finish(rows)

    return random_search


def _only(*names: str) -> Callable:
    return lambda config: {name: value for name, value in config.items() if name in names}


RANDOM_SEARCH = Exercise(
    id="8.12",
    name="random_search",
    title="Find the bug: sampled, written down, never used",
    minutes=15,
    difficulty=2,
    cases=_search_cases,
    reference=_search(),
    run=_run_search,
    mistakes=(
        Mistake(
            "`weight_decay` is sampled and stands in the table, but `train` still runs with its default. The table will say "
            "that decay does not matter. Hand over everything that was sampled: `train(**config)`.",
            _search(use=lambda config: {name: value for name, value in config.items() if name != "weight_decay"}),
        ),
        Mistake(
            "Only the learning rate reaches `train`; all else is sampled, written down and never used. Hand over everything "
            "that was sampled: `train(**config)`.",
            _search(use=_only("learning_rate")),
        ),
        Mistake(
            "Learning rate and decay reach `train`, the others are still sampled and never used. Don't list them by hand: "
            "`train(**config)`.",
            _search(use=_only("learning_rate", "weight_decay")),
        ),
        Mistake("Nothing that was sampled reaches `train`: every trial is the same.", _search(use=lambda config: {})),
        Mistake(
            "The values were drawn evenly from low to high. Rates and decays differ by factors: draw the logarithm evenly.",
            _search(draw=lambda rng, low, high: float(rng.uniform(low, high))),
        ),
        Mistake(
            "Every trial has the same values: the generator is made anew inside the loop. Make it once.",
            _search(one_generator=False),
        ),
        Mistake(
            "All rows are one and the same dict, which every trial writes over. Make a new dict for each trial.",
            _search(one_dict=True),
        ),
        Mistake(
            "Only the best row was returned. Return all of them: the others are what you learn from.",
            _search(finish=lambda rows: [min(rows, key=lambda row: row["error"])]),
        ),
        Mistake("The rows lack what was sampled.", _search(row=lambda config, error: {"error": error})),
        Mistake("The rows lack the error.", _search(row=lambda config, error: config)),
        Mistake(
            "The rows are sorted by their error. Leave them in the order of the trials.",
            _search(finish=lambda rows: sorted(rows, key=lambda row: row["error"])),
        ),
    ),
    hints=(
        "Follow each name from `ranges` to the inside of `train`. Which one does not arrive?",
        "A call that lists its arguments by hand forgets the next one that is added.",
        "`error = train(**config)`.",
    ),
)
