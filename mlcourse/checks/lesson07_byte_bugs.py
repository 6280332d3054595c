"""Exercises of lesson 07 that hand over code with bytes miscounted: GB for GiB, gradients in the wrong precision."""

from collections.abc import Callable

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import EXACT, after, scaled

# 7.15 room_left(parts, *, limit) -> {"left", "fits"}


def _room_cases() -> dict:
    def case(limit: str, **megabytes: float) -> dict:
        return {"parts": {name: round(size * 10**6) for name, size in megabytes.items()}, "limit": limit}

    return {
        "a disk": case("500 GB", data=310_000, checkpoints=200_200),
        "a card as the driver reports it": case("15360 MiB", weights=498, optimizer=995, activations=14_200),
        "a card as PyTorch reports it": case("79.15 GiB", weights=32_000, optimizer=48_000, activations=4_500),
        "the memory of a small computer": case("500 MB", weights=180, optimizer=360),
        "a larger disk": case("2 TB", checkpoints=1_540_000, data=470_000),
        "filled to the last byte": {"parts": {"weights": 2**28, "optimizer": 2**29, "data": 2**28}, "limit": "1 GiB"},
        "a store of tebibytes": {"parts": {"data": 2**40 - 2**20}, "limit": "1 TiB"},
    }


def _unit(name: str, *, decimal: int = 1000, binary: int = 1024) -> int:
    base = binary if "i" in name else decimal
    return base ** ("KMGT".index(name[0]) + 1)


def _room(
    unit: Callable = _unit,
    *,
    used: Callable = lambda parts: sum(parts.values()),
    left: Callable = lambda limit, used: limit - used,
    fits: Callable = lambda left: left >= 0,
    number: Callable = float,
) -> Callable:
    """The room with its parts exchangeable; `unit` turns the limit's unit into bytes."""

    def room_left(parts: dict, *, limit: str) -> dict:
        size, name = limit.split()
        rest = left(number(size) * unit(name), used(parts))
        return {"left": rest, "fits": bool(fits(rest))}

    return room_left


ROOM_LEFT = Exercise(
    id="7.15",
    name="room_left",
    title="Find the bug: it fits, says the calculator",
    minutes=10,
    difficulty=1,
    cases=_room_cases,
    reference=_room(),
    run=after(1),
    rtol=EXACT["rtol"],
    atol=1e-3,  # bytes: where nothing is left, a float may be off by less than one
    mistakes=(
        Mistake(
            "All prefixes are still powers of two. An *i* in the unit (GiB) says so; without it (GB) the prefix is a power "
            "of ten.",
            _room(lambda name: _unit(name, decimal=1024)),
        ),
        Mistake(
            "All prefixes are powers of ten now. That is right for GB and MB; GiB and MiB are powers of two.",
            _room(lambda name: _unit(name, binary=1000)),
        ),
        Mistake(
            "Powers of two and of ten are exchanged: the *i* stands for *binary*.",
            _room(lambda name: _unit(name, decimal=1024, binary=1000)),
        ),
        Mistake(
            "Every limit was taken to be in GiB. Look at the unit: some are in MB, MiB or TB.",
            _room(lambda name: 2**30),
        ),
        Mistake(
            "Every limit was taken to be in GB or GiB. Look at the first letter too: some are in MB, MiB or TB.",
            _room(lambda name: _unit("GiB" if "i" in name else "GB")),
        ),
        Mistake(
            "A MiB is 1024 * 1024 bytes, and a GiB 1024³: every prefix is 1024 times the one before, not 1000 * 1024.",
            _room(lambda name: 1024 * 1000 ** "KMGT".index(name[0]) if "i" in name else _unit(name)),
        ),
        Mistake(
            "These are bits: the limits are in bytes, with a capital B, and so are the parts.",
            _room(lambda name: 8 * _unit(name)),
        ),
        Mistake(
            "A byte has 8 bits, but the limits are in bytes, with a capital B, and so are the parts.",
            _room(lambda name: _unit(name) / 8),
        ),
        Mistake(
            "The sign is the wrong way round: what is left is the limit minus the parts, below 0 where they don't fit.",
            _room(left=lambda limit, used: used - limit, fits=lambda left: left <= 0),
        ),
        Mistake(
            "What does not fit shows as 0. Let it be negative: how much is missing is what one wants to know.",
            _room(left=lambda limit, used: max(0, limit - used)),
        ),
        Mistake(
            "What does not fit shows as 0. Let it be negative: how much is missing is what one wants to know.",
            lambda parts, *, limit: _room()(parts, limit=limit) | {"left": max(0, _room()(parts, limit=limit)["left"])},
        ),
        Mistake("What fills the memory to the last byte fits: `>= 0`.", _room(fits=lambda left: left > 0)),
        Mistake("The verdict is the wrong way round.", _room(fits=lambda left: left < 0)),
        Mistake(
            "The number before the unit was cut to a whole one: 79.15 GiB became 79.",
            _room(number=lambda text: int(float(text))),
        ),
        Mistake(
            "This is the limit in bytes. Subtract the parts.",
            _room(used=lambda parts: 0),
        ),
        Mistake(
            "Only the largest part was subtracted. All of them are there.",
            _room(used=lambda parts: max(parts.values())),
        ),
        Mistake(
            "What is left is in GiB. Return bytes.",
            lambda parts, *, limit: scaled(_room(), 2**-30, "left")(parts, limit=limit),
        ),
        Mistake(
            "What is left is in GB. Return bytes.",
            lambda parts, *, limit: scaled(_room(), 1e-9, "left")(parts, limit=limit),
        ),
    ),
    hints=(
        "What is the difference between a GB and a GiB, and how large is it for a card of 80 of them?",
        "Two questions to the unit: is there an *i* in it (1024) or not (1000)? Which power says the first letter: K 1, M "
        "2, G 3, T 4?",
        '`base = 1024 if "i" in unit else 1000` and `base ** ("KMGT".index(unit[0]) + 1)`.',
    ),
)

# 7.16 autocast_bytes(num_params, *, trainable) -> {"weights", "copies", "gradients", "optimizer"}


def _autocast_cases() -> dict:
    return {
        "GPT-2, all of it trained": {"num_params": 124_439_808, "trainable": 124_439_808},
        "the same with LoRA": {"num_params": 125_029_632, "trainable": 589_824},
        "the last layer only": {"num_params": 11_227_812, "trainable": 51_300},
        "nothing is trained": {"num_params": 1_000, "trainable": 0},
    }


def _autocast(
    *,
    weights: Callable = lambda total, trainable: 4 * total,
    copies: Callable = lambda total, trainable: 2 * total,
    gradients: Callable = lambda total, trainable: 4 * trainable,
    optimizer: Callable = lambda total, trainable: 8 * trainable,
) -> Callable:
    """The bytes of each part from the number of all parameters and of the trainable ones."""

    def autocast_bytes(num_params: int, *, trainable: int) -> dict:
        parts = {"weights": weights, "copies": copies, "gradients": gradients, "optimizer": optimizer}
        return {name: part(num_params, trainable) for name, part in parts.items()}

    return autocast_bytes


AUTOCAST = Exercise(
    id="7.16",
    name="autocast_bytes",
    title="Find the bug: gradients in the wrong precision",
    minutes=10,
    difficulty=2,
    cases=_autocast_cases,
    reference=_autocast(),
    run=after(1),
    **EXACT,
    mistakes=(
        Mistake(
            "The gradients are still counted in bfloat16. A gradient has the precision of the *parameter* it belongs to, and "
            "autocast leaves the parameters in float32: 4 bytes.",
            _autocast(gradients=lambda total, trainable: 2 * trainable),
        ),
        Mistake(
            "The gradients were counted twice, in bfloat16 and in float32. The short one of a product is turned into "
            "float32 on its way to the parameter, and is gone: 4 bytes.",
            _autocast(gradients=lambda total, trainable: 6 * trainable),
        ),
        Mistake(
            "Frozen parameters were given gradients. Only the trainable ones have any.",
            _autocast(gradients=lambda total, trainable: 4 * total),
        ),
        Mistake(
            "Frozen parameters were given gradients and optimizer states. Only the trainable ones have any.",
            _autocast(gradients=lambda total, trainable: 4 * total, optimizer=lambda total, trainable: 8 * total),
        ),
        Mistake(
            "Frozen parameters were given optimizer states. Only the trainable ones have any.",
            _autocast(optimizer=lambda total, trainable: 8 * total),
        ),
        Mistake(
            "The gradients are right, but the optimizer's numbers became bfloat16. They are float32, like the parameters: 8 "
            "bytes for Adam's two.",
            _autocast(optimizer=lambda total, trainable: 4 * trainable),
        ),
        Mistake(
            "A master copy was added to the optimizer's numbers. With autocast the parameters themselves are the float32 "
            "copy: 8 bytes for Adam's two numbers.",
            _autocast(optimizer=lambda total, trainable: 12 * trainable),
        ),
        Mistake(
            "The weights were counted in bfloat16. Autocast leaves the parameters in float32 and makes short copies beside "
            "them.",
            _autocast(weights=lambda total, trainable: 2 * total),
        ),
        Mistake(
            "Frozen weights were left out. They are not trained, but they are there.",
            _autocast(weights=lambda total, trainable: 4 * trainable),
        ),
        Mistake(
            "Short copies were made of the trainable weights only. Every weight takes part in the products, frozen or not.",
            _autocast(copies=lambda total, trainable: 2 * trainable),
        ),
        Mistake(
            "The copies are in bfloat16, 2 bytes a weight. That is what they are made for.",
            _autocast(copies=lambda total, trainable: 4 * total),
        ),
        Mistake(
            "The short copies are missing: 2 bytes for every weight, until the backward pass is through.",
            _autocast(copies=lambda total, trainable: 0),
        ),
        Mistake(
            "All is counted in bfloat16. Only the copies are; parameters, gradients and the optimizer's numbers are float32.",
            _autocast(
                weights=lambda total, trainable: 2 * total,
                gradients=lambda total, trainable: 2 * trainable,
                optimizer=lambda total, trainable: 4 * trainable,
            ),
        ),
        Mistake(
            "These are numbers, not bytes.",
            _autocast(
                weights=lambda total, trainable: total,
                copies=lambda total, trainable: total,
                gradients=lambda total, trainable: trainable,
                optimizer=lambda total, trainable: 2 * trainable,
            ),
        ),
    ),
    hints=(
        "Four lines, four numbers of bytes. For each: which tensor is it, and who decides on its precision?",
        "In PyTorch, `p.grad` always has the dtype of `p`. Which dtype has a parameter under autocast?",
        "One factor of the broken code is 2 and must be 4.",
    ),
)
