"""Exercise of lesson 08 on checkpoints: a run that is killed again and again, and ends as if it had never been."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.values import as_numpy

# 8.6 resumable(step, start, batches, disk, *, num_steps, every, seed) -> the state after num_steps updates


class Killed(Exception):
    """The process ends here: nothing survives but what is on the disk."""


class Disk(dict):
    """A dict that keeps copies, as a disk does: what changes in memory afterwards does not change the file."""

    def __setitem__(self, name: str, content: Any) -> None:
        super().__setitem__(name, copy.deepcopy(content))

    def __getitem__(self, name: str) -> Any:
        return copy.deepcopy(super().__getitem__(name))

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def update(self, *others: Any, **content: Any) -> None:
        for name, value in dict(*others, **content).items():
            self[name] = value


class Steps:
    """Momentum with noise on the gradient; it counts its updates, and is killed at the start of the next one after `life`."""

    def __init__(self, life: int | None = None) -> None:
        self.done, self.life = 0, life

    def __call__(self, state: dict, batch: Any, rng: np.random.Generator) -> dict:
        if self.done == self.life:
            raise Killed("the process was killed in the middle of an update")
        self.done += 1
        w, v = as_numpy(state["w"]).astype(float), as_numpy(state["v"]).astype(float)
        v = 0.8 * v + (w - as_numpy(batch)) + 0.3 * rng.normal(size=w.shape)
        return {"w": w - 0.1 * v, "v": v}


def _resume_cases() -> dict:
    rng = np.random.default_rng(86)

    def case(num_steps: int, every: int, lives: tuple[int, ...], seed: int = 0, batches: int = 5) -> dict:
        return {
            "start": {"w": rng.normal(size=3), "v": np.zeros(3)},
            "batches": rng.normal(size=(batches, 3)),
            "num_steps": num_steps,
            "every": every,
            "seed": seed,
            "lives": lives,
        }

    return {
        "never killed": case(7, 3, ()),
        "killed after 8 updates, the last save at 6": case(12, 3, (8,), seed=1),
        "killed before the first save": case(6, 4, (2,), seed=2),
        "killed three times": case(20, 4, (6, 7, 1), seed=3),
        "killed right after a save": case(9, 3, (6,), seed=4, batches=4),
        "more updates than batches, saved every time": case(11, 1, (5,), seed=5, batches=3),
    }


def _run_resume(
    answer: Callable, start: dict, batches: Any, num_steps: int, every: int, seed: int, lives: tuple[int, ...]
) -> Any:
    """The state at the end, and how many updates the last processes made."""
    disk = Disk()
    how = {"num_steps": num_steps, "every": every, "seed": seed}
    for life in lives:
        try:
            answer(Steps(life), copy.deepcopy(start), batches, disk, **how)
        except Killed:
            pass
    last, again = Steps(), Steps()
    state = answer(last, copy.deepcopy(start), batches, disk, **how)
    answer(again, copy.deepcopy(start), batches, disk, **how)
    return {
        "the state at the end": state,
        "updates of the last process": last.done,
        "updates of one more process, after the run was complete": again.done,
    }


def _resumable(
    *,
    load: bool = True,
    restore_rng: Callable = lambda saved, rng, seed: _with_state(rng, saved["rng"]),
    batch: Callable = lambda k, first, n: k % n,
    saved_step: Callable = lambda k: k,
    kept: Callable = lambda state, start: state,
    due: Callable = lambda k, every, num_steps: k % every == 0 or k == num_steps,
    end: Callable = lambda first, num_steps: num_steps,
    save_first: bool = False,
    returned: Callable = lambda state: state,
) -> Callable:
    """The loop with its parts exchangeable; `first` is the number of updates the checkpoint had seen."""

    def resumable(step: Callable, start: dict, batches: Any, disk: Disk, *, num_steps: int, every: int, seed: int) -> Any:
        state, rng, k = start, np.random.default_rng(seed), 0
        if load and "run" in disk:
            saved = disk["run"]
            state, k = saved["state"], saved["step"]
            rng = restore_rng(saved, rng, seed)
        first = k
        while k < end(first, num_steps):
            before = state
            state = step(state, batches[batch(k, first, len(batches))], rng)
            k += 1
            if due(k, every, num_steps):
                content = before if save_first else state
                disk["run"] = {
                    "state": kept(content, start),
                    "step": saved_step(k),
                    "rng": copy.deepcopy(rng.bit_generator.state),
                }
        return returned(state)

    return resumable


def _with_state(rng: np.random.Generator, state: dict) -> np.random.Generator:
    rng.bit_generator.state = state
    return rng


def _in_memory(step: Callable, start: dict, batches: Any, disk: Disk, *, num_steps: int, every: int, seed: int) -> Any:
    """Finds the place again by redoing everything."""
    rng, state = np.random.default_rng(seed), start
    for k in range(num_steps):
        state = step(state, batches[k % len(batches)], rng)
    disk["run"] = state
    return state


RESUMABLE = Exercise(
    id="8.6",
    name="resumable",
    title="Killed, resumed, and nobody can tell",
    minutes=25,
    difficulty=3,
    cases=_resume_cases,
    reference=_resumable(),
    run=_run_resume,
    rtol=1e-9,
    atol=1e-12,
    mistakes=(
        Mistake(
            "The random generator starts anew at every resume, so the noise after it is not what it would have been. Save "
            "`rng.bit_generator.state`, and set it again.",
            _resumable(restore_rng=lambda saved, rng, seed: rng),
        ),
        Mistake(
            "At a resume the generator got a new seed, seed + step. That is repeatable, but a killed run differs from one that "
            "was not. Save `rng.bit_generator.state`, and set it again.",
            _resumable(restore_rng=lambda saved, rng, seed: np.random.default_rng(seed + saved["step"])),
        ),
        Mistake(
            "After a resume the batches begin at the first one again: some examples are seen twice, others never. The place in "
            "the order belongs to the checkpoint: batch k % len(batches) at update k.",
            _resumable(batch=lambda k, first, n: (k - first) % n),
        ),
        Mistake(
            "Only the weights are in the checkpoint: the velocity starts from zero at every resume. The optimizer's state "
            "belongs to the state.",
            _resumable(kept=lambda state, start: {"w": state["w"], "v": np.zeros(3)}),
        ),
        Mistake(
            "The state in the checkpoint is the one from *before* the update, but its step counts the update: one is lost at "
            "every resume. Save after the update.",
            _resumable(save_first=True),
        ),
        Mistake(
            "The checkpoint's step is one too low: the update it was saved after is made again at a resume. Save the number of "
            "updates that were made.",
            _resumable(saved_step=lambda k: k - 1),
        ),
        Mistake(
            "The checkpoint's step is one too high: an update is left out at a resume. Save the number of updates that were "
            "made.",
            _resumable(saved_step=lambda k: k + 1),
        ),
        Mistake(
            "Nothing is read from the disk: every process starts from the beginning. Look for a checkpoint first.",
            _resumable(load=False),
        ),
        Mistake(
            "Nothing is read from the disk: every process starts from the beginning. Look for a checkpoint first.",
            _in_memory,
        ),
        Mistake(
            "Nothing is saved before the end, so a killed run loses all. Save after every `every` updates.",
            _resumable(due=lambda k, every, num_steps: k == num_steps),
        ),
        Mistake(
            "The end is not saved, so a run that is complete makes its last updates again. Save after the last update, too.",
            _resumable(due=lambda k, every, num_steps: k % every == 0),
        ),
        Mistake(
            "After a resume the run makes `num_steps` more updates. `num_steps` counts all of them, those before the kill too.",
            _resumable(end=lambda first, num_steps: first + num_steps),
        ),
        Mistake(
            "The state in the checkpoint is the one from the start. Save the newest.",
            _resumable(kept=lambda state, start: start),
        ),
        Mistake("The weights alone were returned. Return the whole state.", _resumable(returned=lambda state: state["w"])),
    ),
    hints=(
        "What does the rest of the run depend on? All of that goes to the disk, and nothing else counts.",
        "Four things: the state (weights and velocity), the number of updates made, the generator's "
        "`rng.bit_generator.state`, and the place in the data, which follows from the number of updates.",
        '`if "run" in disk: saved = disk["run"]`, then set state, step and `rng.bit_generator.state`; save where '
        "`k % every == 0 or k == num_steps`, after the update.",
    ),
)
