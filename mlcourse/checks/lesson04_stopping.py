"""Exercises of lesson 04 on early stopping: patience and the best weights, and a stop that asks the wrong data."""

import copy
from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy

# 4.5 early_stopping(model, train_epoch, validation_loss, *, max_epochs, patience) -> best epoch, epochs trained


class TinyModel:
    """Two arrays of weights with PyTorch's two names: `state_dict()` gives the live arrays, not copies of them.

    An epoch adds to "W" in place, as an optimizer of PyTorch does, and puts a new array in the place of "b".
    """

    def __init__(self) -> None:
        self._weights = {"W": np.zeros(3), "b": np.zeros(2)}

    def __repr__(self) -> str:
        return f"a model of two arrays, after {self.epochs} epochs"

    @property
    def epochs(self) -> int:
        """How many epochs of training these weights have seen."""
        return int(round(self._weights["W"][0]))

    def state_dict(self) -> dict[str, np.ndarray]:
        return dict(self._weights)

    def load_state_dict(self, state: dict) -> None:
        for name, value in state.items():
            self._weights[name][...] = as_numpy(value)

    def learn(self) -> None:
        self._weights["W"] += (1.0, 0.5, -0.25)
        self._weights["b"] = self._weights["b"] - (0.5, 2.0)


def train_epoch(model: TinyModel) -> None:
    """train_epoch(model): changes the model's weights in place"""
    model.learn()


def _scripted(losses: tuple[float, ...]) -> Callable:
    def validation_loss(model: TinyModel) -> float:
        return losses[model.epochs - 1] if model.epochs else 9.0

    told = ", ".join(map(str, losses))
    validation_loss.__doc__ = f"validation_loss(model): {told} after the epochs 0, 1, 2, ..."
    return validation_loss


def _stopping_cases() -> dict:
    def case(losses: tuple[float, ...], patience: int) -> dict:
        return {
            "model": TinyModel(),
            "train_epoch": train_epoch,
            "validation_loss": _scripted(losses),
            "max_epochs": len(losses),
            "patience": patience,
        }

    return {
        "a dip, a bump, the best epoch, then overfitting": case((2.0, 1.5, 1.6, 1.7, 1.2, 1.3, 1.25, 1.4, 1.1, 0.5), 3),
        "the last epoch allowed is the best": case((0.9, 0.8, 0.85, 0.7, 0.6), 2),
        "the same lowest loss again and again": case((1.0, 0.75, 0.75, 0.75, 0.8, 0.4, 0.3), 3),
        "falling from one epoch to the next, but above the best": case((1.0, 0.5, 0.9, 0.8, 0.7, 0.6, 0.55, 0.2), 4),
        "the loss becomes nan": case((1.0, 0.6, nan, nan, nan, nan), 2),
        "a patience of 1": case((3.0, 2.0, 2.5, 1.0), 1),
        "stopped by max_epochs, the best long past": case((0.7, 0.3, 0.5, 0.4), 5),
    }


def _run_stopping(
    answer: Callable, model: TinyModel, train_epoch: Callable, validation_loss: Callable, max_epochs: int, patience: int
) -> dict:
    returned = answer(model, train_epoch, validation_loss, max_epochs=max_epochs, patience=patience)
    weights = copy.deepcopy(model.state_dict())
    return {"returned": returned, "the model's weights": weights}


def _stopping(
    *,
    better: Callable = lambda loss, best, before: loss < best,
    stop: Callable = lambda bad, patience: bad >= patience,
    keep: Callable = lambda model: copy.deepcopy(model.state_dict()),
    restore: bool = True,
    reset: bool = True,
    keep_first: bool = False,
    returned: Callable = lambda best_epoch, epochs, best: (best_epoch, epochs),
) -> Callable:
    """Early stopping with its parts exchangeable; `before` is the loss of the epoch before."""

    def early_stopping(
        model: TinyModel, train_epoch: Callable, validation_loss: Callable, *, max_epochs: int, patience: int
    ) -> Any:
        best, before, best_epoch, kept, bad, epoch = inf, inf, 0, keep(model), 0, -1
        for epoch in range(max_epochs):
            earlier = keep(model)
            train_epoch(model)
            loss = validation_loss(model)
            if better(loss, best, before):
                best, best_epoch, bad = loss, epoch, 0 if reset else bad
                kept = earlier if keep_first else keep(model)
            else:
                bad += 1
            before = loss
            if stop(bad, patience):
                break
        if restore:
            model.load_state_dict(kept)
        return returned(best_epoch, epoch + 1, best)

    return early_stopping


_LIVE = (
    "What was kept as the best weights went on changing: `state_dict()` hands out the live arrays, and training writes into "
    "them. Keep a deep copy, `copy.deepcopy(model.state_dict())`."
)

EARLY_STOPPING = Exercise(
    id="4.5",
    name="early_stopping",
    title="Early stopping that goes back to the best",
    minutes=20,
    difficulty=2,
    cases=_stopping_cases,
    reference=_stopping(),
    run=_run_stopping,
    mistakes=(
        Mistake(
            "The model ends with the weights of the last epoch. Load those of the best epoch before you return.",
            _stopping(restore=False),
        ),
        Mistake(_LIVE, _stopping(keep=lambda model: model.state_dict())),
        Mistake(
            "The weights are those from before the best epoch: they were copied before its training. Copy them after its loss "
            "is known.",
            _stopping(keep_first=True),
        ),
        Mistake(
            "It stopped one epoch too late. With a patience of 3, the third epoch in a row without a new best is the last one.",
            _stopping(stop=lambda bad, patience: bad > patience),
        ),
        Mistake(
            "It stopped one epoch too early. With a patience of 3, three epochs in a row may be without a new best.",
            _stopping(stop=lambda bad, patience: bad >= max(patience - 1, 1)),
        ),
        Mistake(
            "It stopped one epoch too early. With a patience of 3, three epochs in a row may be without a new best.",
            _stopping(stop=lambda bad, patience: bad >= patience - 1),
        ),
        Mistake(
            "A loss as low as the best was taken for a new best. Only a *lower* one is: `<`, not `<=`.",
            _stopping(better=lambda loss, best, before: loss <= best),
        ),
        Mistake(
            "Each loss was compared with that of the epoch before. Compare it with the lowest so far: a loss can fall for long "
            "without ever reaching the best again.",
            _stopping(better=lambda loss, best, before: loss < before),
        ),
        Mistake(
            "The count of epochs without a new best was never set back to 0. It counts epochs *in a row*.",
            _stopping(reset=False),
        ),
        Mistake(
            "The highest loss was taken for the best.", _stopping(better=lambda loss, best, before: loss > best or best == inf)
        ),
        Mistake(
            "nan was taken for a new best. `loss < best` is False for nan, and so is `loss >= best`: put the new best under "
            "the `if`, and the counting under its `else`.",
            _stopping(better=lambda loss, best, before: not loss >= best),
        ),
        Mistake(
            "It stopped at the first epoch without a new best. Wait for `patience` of them in a row.",
            _stopping(stop=lambda bad, patience: bad >= 1),
        ),
        Mistake("It never stopped early: `patience` is not used.", _stopping(stop=lambda bad, patience: False)),
        Mistake(
            "The best epoch was counted from 1. The first epoch has the number 0.",
            _stopping(returned=lambda best_epoch, epochs, best: (best_epoch + 1, epochs)),
        ),
        Mistake(
            "This is the number of the last epoch. It was asked how many epochs were trained, which is one more.",
            _stopping(returned=lambda best_epoch, epochs, best: (best_epoch, epochs - 1)),
        ),
        Mistake(
            "The first value is the number of the last epoch. Return that of the best.",
            _stopping(returned=lambda best_epoch, epochs, best: (epochs - 1, epochs)),
        ),
        Mistake(
            "The first value is the lowest loss. Return the number of its epoch.",
            _stopping(returned=lambda best_epoch, epochs, best: (best, epochs)),
        ),
        Mistake(
            "The two numbers are exchanged: return the best epoch, then how many were trained.",
            _stopping(returned=lambda best_epoch, epochs, best: (epochs, best_epoch)),
        ),
    ),
    hints=(
        "Four variables: the lowest loss so far, its epoch, a copy of its weights, and how many epochs have gone by since.",
        "`copy.deepcopy(model.state_dict())`: without the copy you keep the live arrays, and the next epoch writes into them.",
        "`if loss < best: ... else: waited += 1`, then `if waited == patience: break`. After the loop, `load_state_dict`.",
    ),
)


# 4.12 select(train_epoch, evaluate, state, *, max_epochs, patience) -> state, test loss


def one_epoch(state: float) -> float:
    """train_epoch(state): the state after one more epoch, a new value"""
    return state + 1.0


def _table(**losses: tuple[float, ...]) -> Callable:
    def evaluate(state: float, split: str) -> float:
        epochs = int(round(float(state)))
        return losses[split][epochs - 1] if epochs else 9.0

    told = "; ".join(f'{", ".join(map(str, row))} on "{split}"' for split, row in losses.items())
    evaluate.__doc__ = f"evaluate(state, split): {told}"
    return evaluate


def _select_cases() -> dict:
    def case(patience: int, **losses: tuple[float, ...]) -> dict:
        return {
            "train_epoch": one_epoch,
            "evaluate": _table(**losses),
            "state": 0.0,
            "max_epochs": len(losses["test"]),
            "patience": patience,
        }

    return {
        "the lowest test loss comes before the lowest validation loss": case(
            2,
            train=(0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
            validation=(1.0, 0.9, 0.85, 0.6, 0.8, 0.7, 0.9),
            test=(1.1, 0.75, 0.8, 0.95, 0.7, 0.9, 1.0),
        ),
        "the lowest test loss comes after it": case(
            2,
            train=(0.8, 0.7, 0.5, 0.4, 0.3, 0.2),
            validation=(0.9, 0.5, 0.6, 0.7, 0.4, 0.8),
            test=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5),
        ),
        "the last epoch allowed is the best": case(
            3,
            train=(0.8, 0.85, 0.9, 0.95),
            validation=(0.9, 0.8, 0.7, 0.6),
            test=(0.5, 0.6, 0.7, 0.8),
        ),
        "a patience of 1": case(1, train=(0.6, 0.5, 0.4, 0.3), validation=(0.7, 0.6, 0.8, 0.2), test=(0.9, 0.8, 0.85, 0.3)),
    }


def _run_select(
    answer: Callable, train_epoch: Callable, evaluate: Callable, state: float, max_epochs: int, patience: int
) -> dict:
    looked = []

    def watched(state: float, split: str) -> float:
        looked.append(split)
        return evaluate(state, split)

    returned = answer(train_epoch, watched, state, max_epochs=max_epochs, patience=patience)
    return {"returned": returned, "looks at the test split": looked.count("test")}


def _select(
    choose: Callable = lambda evaluate, state: evaluate(state, "validation"),
    *,
    stop: Callable | None = None,
    report: Callable = lambda evaluate, best_state, state, best, tested: (best_state, evaluate(best_state, "test")),
    peek: Callable = lambda new_best: False,
) -> Callable:
    """A selection by `choose(evaluate, state)`, stopped by `stop` (or `choose`); `tested` are test losses seen on the way.

    `peek(new_best)` says whether to look at the test split after an epoch that is a new best, or is none.
    """

    def select(train_epoch: Callable, evaluate: Callable, state: float, *, max_epochs: int, patience: int) -> Any:
        best, best_state, lowest, bad, tested = inf, state, inf, 0, []
        for _ in range(max_epochs):
            state = train_epoch(state)
            loss = choose(evaluate, state)
            if peek(loss < best):
                tested.append(evaluate(state, "test"))
            if loss < best:
                best, best_state = loss, state
            stopping = loss if stop is None else stop(evaluate, state)
            lowest, bad = (stopping, 0) if stopping < lowest else (lowest, bad + 1)
            if bad == patience:
                break
        return report(evaluate, best_state, state, best, tested)

    return select


def _by(split: str) -> Callable:
    return lambda evaluate, state: evaluate(state, split)


def _best_of_choice(evaluate: Callable, best_state: float, state: float, best: float, tested: list) -> tuple:
    return best_state, best


SELECT = Exercise(
    id="4.12",
    name="select",
    title="Find the bug: the test set says when to stop",
    minutes=10,
    difficulty=2,
    cases=_select_cases,
    reference=_select(),
    run=_run_select,
    mistakes=(
        Mistake(
            "The epoch is still chosen by the test loss, and its lowest value is reported: luck that will not come again. "
            "Choose by the validation loss.",
            _select(_by("test"), report=_best_of_choice),
        ),
        Mistake(
            "The epoch is still chosen by the test loss. It makes no difference that the test loss is computed once more at "
            "the end: choose by the validation loss.",
            _select(_by("test")),
        ),
        Mistake(
            "The epoch is chosen by the validation loss, and then that same validation loss is reported. It was the lowest of "
            'many, so it is too good. Report `evaluate(best_state, "test")`.',
            _select(report=_best_of_choice),
        ),
        Mistake(
            "The training loss chooses the epoch. It falls as long as training lasts, and knows nothing of overfitting.",
            _select(_by("train")),
        ),
        Mistake(
            "The mean of validation and test loss chooses the epoch. As soon as the test loss has a say, it is no test.",
            _select(lambda evaluate, state: (evaluate(state, "validation") + evaluate(state, "test")) / 2),
        ),
        Mistake(
            "The validation loss says when to stop, but the epoch is still the one with the lowest test loss.",
            _select(_by("test"), stop=_by("validation")),
        ),
        Mistake(
            "The validation loss says when to stop, but the epoch is still the one with the lowest test loss.",
            _select(_by("test"), stop=_by("validation"), report=_best_of_choice),
        ),
        Mistake(
            "The epoch is the one with the lowest validation loss, but the test loss still says when to stop.",
            _select(stop=_by("test")),
        ),
        Mistake(
            "The test split was looked at in every epoch. The right number was reported in the end, but a number that is on "
            "the screen all the time is used sooner or later. Evaluate on it once, after the choice.",
            _select(peek=lambda new_best: True),
        ),
        *(
            Mistake(
                "The test split was looked at at every new best. Only the last of these looks was needed, and nobody knows "
                "which is the last before training is over. Evaluate on it once, after the loop.",
                _select(peek=lambda new_best: new_best, **then),
            )
            for then in ({}, {"report": lambda evaluate, best_state, state, best, tested: (best_state, tested[-1])})
        ),
        Mistake(
            "The lowest test loss of all epochs was reported, not that of the chosen one.",
            _select(
                peek=lambda new_best: True, report=lambda evaluate, best_state, state, best, tested: (best_state, min(tested))
            ),
        ),
        Mistake(
            "The last state was tested and returned. Return the one with the lowest validation loss.",
            _select(report=lambda evaluate, best_state, state, best, tested: (state, evaluate(state, "test"))),
        ),
        Mistake(
            "The right state was returned, but the test loss is that of the last one.",
            _select(report=lambda evaluate, best_state, state, best, tested: (best_state, evaluate(state, "test"))),
        ),
        Mistake(
            "The two results are exchanged: return the state, then its test loss.",
            lambda *args, **kwargs: _select()(*args, **kwargs)[::-1],
        ),
        Mistake(
            "The test loss alone was returned. Return the state, then its test loss.",
            lambda *args, **kwargs: _select()(*args, **kwargs)[1],
        ),
    ),
    hints=(
        "Which split decides something in this code? Which one is only reported?",
        "The test split may not decide anything: neither when to stop nor which state is kept.",
        'Two lines change: `evaluate(state, "validation")` in the loop, and `evaluate(best_state, "test")` after it.',
    ),
)
