"""Exercises of lesson 07 that give a verdict: the worst moment of a step against the card, the largest batch that fits."""

from collections.abc import Callable
from math import ceil, floor

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import CLOSE, EXACT, GIB, after, changed

# 7.9 will_it_fit(phases, *, card_gib, context_gib, slack) -> {"phase", "bytes", "fits"}


def _phases(**parts: tuple) -> dict:
    """Bytes by phase and part; each part has one number for every phase, in MB."""
    names = ("load", "end of forward", "backward", "optimizer step")
    return {
        name: {part: round(megabytes[i] * 10**6) for part, megabytes in parts.items() if megabytes[i]}
        for i, name in enumerate(names)
    }


def _fit_cases() -> dict:
    resnet = {
        "weights": (44.9, 44.9, 44.9, 44.9),
        "gradients": (0, 0, 4.1, 44.9),
        "optimizer": (44.9, 44.9, 44.9, 44.9),
        "saved activations": (0, 601.7, 598.2, 0),
        "temporary": (0, 2.1, 19.3, 44.9),
    }
    gpt = {
        "weights": (498, 498, 498, 498),
        "gradients": (0, 0, 0, 498),
        "optimizer": (995, 995, 995, 995),
        "saved activations": (0, 13071, 13071, 0),
        "loss head": (0, 4900, 6587, 0),
    }
    lora = {
        "weights": (6900, 6900, 6900, 6900),
        "gradients": (0, 0, 12, 12),
        "optimizer": (24, 24, 24, 24),
        "saved activations": (0, 810, 760, 0),
        "temporary": (9100, 15, 40, 12),
    }
    return {
        "ResNet-18, batch 128": {"phases": _phases(**resnet), "card_gib": 1.5, "context_gib": 0.5, "slack": 0.2},
        "GPT-2, batch 16": {"phases": _phases(**gpt), "card_gib": 24.0, "context_gib": 0.5, "slack": 0.1},
        "the same on a card that is a little smaller": {
            "phases": _phases(**gpt),
            "card_gib": 21.0,
            "context_gib": 0.75,
            "slack": 0.0,
        },
        "loading is the worst moment": {"phases": _phases(**lora), "card_gib": 15.75, "context_gib": 1.0, "slack": 0.05},
        "the step of the optimizer is the worst moment, and it fits to the last byte": {
            "phases": {
                "load": {"weights": 2**28, "optimizer": 2**29},
                "end of forward": {"weights": 2**28, "optimizer": 2**29, "saved activations": 2**27},
                "backward": {"weights": 2**28, "optimizer": 2**29, "saved activations": 2**26, "gradients": 2**27},
                "optimizer step": {"weights": 2**28, "optimizer": 2**29, "gradients": 2**28},
            },
            "card_gib": 1.5,
            "context_gib": 0.5,
            "slack": 0.0,
        },
    }


def _worst(phases: dict) -> str:
    return max(phases, key=lambda name: sum(phases[name].values()))


def _fit(
    *,
    phase: Callable = _worst,
    tensors: Callable = lambda phases, phase: sum(phases[phase].values()),
    needed: Callable = lambda tensors, slack, context: tensors * (1 + slack) + context,
    fits: Callable = lambda needed, card: needed <= card,
    gib: int = GIB,
    card: int = GIB,
) -> Callable:
    """The verdict with its parts exchangeable; `tensors` are the bytes of all tensors at the chosen phase."""

    def will_it_fit(phases: dict, *, card_gib: float, context_gib: float, slack: float) -> dict:
        chosen = phase(phases)
        total = needed(tensors(phases, chosen), slack, context_gib * gib)
        return {"phase": chosen, "bytes": total, "fits": bool(fits(total, card_gib * card))}

    return will_it_fit


def _largest_of_each_part(phases: dict, phase: str) -> int:
    parts = {part for found in phases.values() for part in found}
    return sum(max(found.get(part, 0) for found in phases.values()) for part in parts)


FIT = Exercise(
    id="7.9",
    name="will_it_fit",
    title="Will it fit? The worst moment decides",
    minutes=15,
    difficulty=2,
    cases=_fit_cases,
    reference=_fit(),
    run=after(1),
    **CLOSE,
    mistakes=(
        Mistake(
            "The phases were added up. They come one after the other, in the same memory: the largest of them decides.",
            _fit(tensors=lambda phases, _: sum(sum(parts.values()) for parts in phases.values())),
        ),
        Mistake(
            "The largest value of each part was taken, and these were added. They do not occur at the same moment: gradients "
            "come while the activations go. Add up the parts within a phase, then take the largest phase.",
            _fit(tensors=_largest_of_each_part),
        ),
        Mistake(
            "This is the largest single part. At the worst moment all parts of that phase are there together.",
            _fit(tensors=lambda phases, _: max(max(parts.values()) for parts in phases.values())),
        ),
        Mistake(
            "Only the backward pass was looked at. It is often the worst moment, but with few activations (LoRA, "
            "checkpointing) it can be another.",
            _fit(phase=lambda phases: "backward"),
        ),
        Mistake(
            "Only the last phase was looked at. Take the one with the most bytes.",
            _fit(phase=lambda phases: list(phases)[-1]),
        ),
        Mistake(
            "This is the phase with the *fewest* bytes.",
            _fit(phase=lambda phases: min(phases, key=lambda name: sum(phases[name].values()))),
        ),
        Mistake(
            "This phase has the most parts. The one with the most *bytes* decides.",
            _fit(phase=lambda phases: max(phases, key=lambda name: len(phases[name]))),
        ),
        Mistake(
            "The context is missing, or was added in GiB to a number of bytes: the driver and the libraries take context_gib * "
            "2**30 bytes before the first tensor.",
            changed(_fit(), context_gib=0.0),
        ),
        Mistake(
            "The slack is missing: the allocator holds `slack` more than the tensors need, because blocks are rounded up and "
            "memory is cut into pieces.",
            changed(_fit(), slack=0.0),
        ),
        Mistake(
            "The slack was put on the context too. Only the tensors go through the allocator.",
            _fit(needed=lambda tensors, slack, context: (tensors + context) * (1 + slack)),
        ),
        Mistake(
            "The slack was put on the context instead of on the tensors.",
            _fit(needed=lambda tensors, slack, context: tensors + context * (1 + slack)),
        ),
        Mistake(
            "This is the slack alone. The tensors take 1 + slack times their bytes.",
            _fit(needed=lambda tensors, slack, context: tensors * slack + context),
        ),
        Mistake(
            "The slack was subtracted. It is more memory that is needed, not less.",
            _fit(needed=lambda tensors, slack, context: tensors * (1 - slack) + context),
        ),
        Mistake(
            "A GiB was counted as 10⁹ bytes. That is a GB; a GiB has 2³⁰, 7 % more.",
            _fit(gib=10**9, card=10**9),
        ),
        Mistake(
            "The context was counted in GB. A GiB has 2³⁰ bytes, not 10⁹.",
            _fit(gib=10**9),
        ),
        Mistake(
            "The card was counted in GB. A GiB has 2³⁰ bytes, not 10⁹.",
            _fit(card=10**9),
        ),
        Mistake("What fills the card to the last byte fits: `<=`.", _fit(fits=lambda needed, card: needed < card)),
        Mistake("The verdict is the wrong way round.", _fit(fits=lambda needed, card: needed >= card)),
        Mistake("The verdict is the wrong way round.", _fit(fits=lambda needed, card: needed > card)),
        Mistake(
            "The verdict forgets the slack and the context: the tensors fit, but not what lies around them.",
            lambda phases, *, card_gib, context_gib, slack: (
                _fit()(phases, card_gib=card_gib, context_gib=context_gib, slack=slack)
                | {"fits": max(sum(parts.values()) for parts in phases.values()) <= card_gib * GIB}
            ),
        ),
    ),
    hints=(
        "Which order is right: first the largest and then the sum, or first the sum and then the largest?",
        "`totals = {phase: sum(parts.values()) for phase, parts in phases.items()}` and `max(totals, key=totals.get)`.",
        "The card must hold totals[phase] * (1 + slack) + context_gib * 2**30 bytes.",
    ),
)

# 7.10 largest_batch(first, second, *, card_gib) -> int


def _batch_cases() -> dict:
    def line(fixed: int, each: int, *batches: int) -> dict:
        return {name: (batch, fixed + each * batch) for name, batch in zip(("first", "second"), batches, strict=True)}

    return {
        "ResNet-18, traced with 1 and 2 images": line(91_400_000, 4_701_000, 1, 2) | {"card_gib": 4.0},
        "GPT-2, traced with 4 and 16": line(1_493_300_000, 1_228_600_000, 4, 16) | {"card_gib": 23.0},
        "the larger batch first": line(800_000_000, 30_000_000, 64, 24) | {"card_gib": 15.0},
        "not even one example fits": line(2_000_000_000, 300_000_000, 1, 3) | {"card_gib": 2.0},
        "the model alone is too large": line(9_000_000_000, 500_000_000, 2, 4) | {"card_gib": 4.0},
        "filled to the last byte": line(GIB, 2**27, 3, 5) | {"card_gib": 6.0},
    }


def _largest(
    *,
    slope: Callable = lambda b1, m1, b2, m2: (m2 - m1) / (b2 - b1),
    fixed: Callable = lambda b1, m1, b2, m2, each: m1 - each * b1,
    whole: Callable = lambda batch: max(0, floor(batch)),
    gib: int = GIB,
) -> Callable:
    """The batch at which fixed + each * batch fills the card, with its parts exchangeable."""

    def largest_batch(first: tuple, second: tuple, *, card_gib: float) -> int:
        each = slope(*first, *second)
        return whole((card_gib * gib - fixed(*first, *second, each)) / each)

    return largest_batch


LARGEST_BATCH = Exercise(
    id="7.10",
    name="largest_batch",
    title="The largest batch that fits",
    minutes=10,
    difficulty=1,
    cases=_batch_cases,
    reference=_largest(),
    run=after(2),
    **EXACT,
    mistakes=(
        Mistake(
            "The fixed part is forgotten: weights and optimizer take the same bytes for every batch. Two points give a line "
            "with a slope *and* an intercept.",
            _largest(slope=lambda b1, m1, b2, m2: m1 / b1, fixed=lambda *_: 0),
        ),
        Mistake(
            "The fixed part is forgotten: weights and optimizer take the same bytes for every batch. Two points give a line "
            "with a slope *and* an intercept.",
            _largest(slope=lambda b1, m1, b2, m2: m2 / b2, fixed=lambda *_: 0),
        ),
        Mistake(
            "The slope is right, but the fixed part is not subtracted from the card: weights and optimizer are there first.",
            _largest(fixed=lambda *_: 0),
        ),
        Mistake(
            "The difference of the bytes was not divided by the difference of the batches. That is the slope only where the "
            "batches are neighbours.",
            _largest(slope=lambda b1, m1, b2, m2: m2 - m1),
        ),
        Mistake(
            "The fixed part is not the bytes of the first trace. That holds the activations of its batch too: subtract them.",
            _largest(fixed=lambda b1, m1, b2, m2, each: m1),
        ),
        Mistake(
            "The fixed part was found as if the first trace had one example. It had `first[0]` of them.",
            _largest(fixed=lambda b1, m1, b2, m2, each: m1 - each),
        ),
        Mistake(
            "The fixed part has the wrong sign.",
            _largest(fixed=lambda b1, m1, b2, m2, each: each * b1 - m1),
        ),
        Mistake("Half an example doesn't fit: round down.", _largest(whole=lambda batch: max(0, ceil(batch)))),
        Mistake("Rounding to the nearest can be one too many: round down.", _largest(whole=lambda batch: max(0, round(batch)))),
        Mistake("The batch is not a whole number: round down.", _largest(whole=lambda batch: max(0.0, batch))),
        Mistake(
            "A batch below 0. Where not even one example fits, the answer is 0.",
            _largest(whole=floor),
        ),
        Mistake(
            "Where not even one example fits, the answer is 0: there is no batch of 1 that fits.",
            _largest(whole=lambda batch: max(1, floor(batch))),
        ),
        Mistake(
            "A batch that fills the card to the last byte fits: don't take one away.",
            _largest(whole=lambda batch: max(0, ceil(batch) - 1)),
        ),
        Mistake(
            "The batch was rounded down to a power of two. It was asked for the largest one that fits.",
            _largest(whole=lambda batch: 2 ** (floor(batch).bit_length() - 1) if batch >= 1 else 0),
        ),
        Mistake("A GiB has 2³⁰ bytes. 10⁹ is a GB, 7 % less.", _largest(gib=10**9)),
    ),
    hints=(
        "Two points on a line. What is its slope, in bytes an example, and where does it stand at batch 0?",
        "`each = (m2 - m1) / (b2 - b1)` and `fixed = m1 - each * b1`. How many examples go into the rest of the card?",
        "`max(0, int((card_gib * 2**30 - fixed) // each))`.",
    ),
)
