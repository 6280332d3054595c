"""Exercises of lesson 07 on what lies in device memory: the states of the model, what autograd keeps."""

from collections.abc import Callable

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import EXACT, after, changed, scaled

# 7.5 state_bytes(num_params, *, optimizer, precision, gpus, zero) -> {"weights", "gradients", "optimizer"}


def _state_cases() -> dict:
    names = ("num_params", "optimizer", "precision", "gpus", "zero")
    cases = {
        "ResNet-18, SGD with momentum, one card": (11_220_132, "momentum", "float32", 1, 0),
        "Adam in float32 on four cards, nothing split": (124_439_808, "adam", "float32", 4, 0),
        "plain SGD": (1_000, "sgd", "float32", 1, 0),
        "all in bfloat16": (960, "adam", "bfloat16", 8, 1),
        "7.5 billion on 64 cards, mixed, nothing split": (7_500_000_000, "adam", "mixed", 64, 0),
        "the same with ZeRO-1": (7_500_000_000, "adam", "mixed", 64, 1),
        "the same with ZeRO-2": (7_500_000_000, "adam", "mixed", 64, 2),
        "the same with ZeRO-3": (7_500_000_000, "adam", "mixed", 64, 3),
        "plain SGD, mixed, ZeRO-2": (1_024, "sgd", "mixed", 4, 2),
        "momentum, mixed, ZeRO-3 on one card": (640, "momentum", "mixed", 1, 3),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _states(
    *,
    moments: Callable = {"sgd": 0, "momentum": 1, "adam": 2}.get,
    weight: Callable = {"float32": 4, "bfloat16": 2, "mixed": 2}.get,
    gradient: Callable = {"float32": 4, "bfloat16": 2, "mixed": 2}.get,
    moment: Callable = {"float32": 4, "bfloat16": 2, "mixed": 4}.get,
    master: Callable = lambda precision: 4 * (precision == "mixed"),
    split: Callable = lambda zero: {"weights": zero >= 3, "gradients": zero >= 2, "optimizer": zero >= 1},
) -> Callable:
    """The bytes with their parts exchangeable: bytes a number by precision, and which parts a stage splits."""

    def states(num_params: int, *, optimizer: str, precision: str, gpus: int, zero: int) -> dict:
        whole = {
            "weights": weight(precision) * num_params,
            "gradients": gradient(precision) * num_params,
            "optimizer": (moments(optimizer) * moment(precision) + master(precision)) * num_params,
        }
        return {part: whole[part] / gpus if split(zero)[part] else whole[part] for part in whole}

    return states


def _sgd_without_master(num_params: int, *, optimizer: str, precision: str, gpus: int, zero: int) -> dict:
    states = _states(master=lambda precision: 4 * (precision == "mixed" and optimizer != "sgd"))
    return states(num_params, optimizer=optimizer, precision=precision, gpus=gpus, zero=zero)


def _master_with_the_weights(num_params: int, *, optimizer: str, precision: str, gpus: int, zero: int) -> dict:
    states = _states(master=lambda precision: 0, weight={"float32": 4, "bfloat16": 2, "mixed": 6}.get)
    return states(num_params, optimizer=optimizer, precision=precision, gpus=gpus, zero=zero)


STATES = Exercise(
    id="7.5",
    name="state_bytes",
    title="Weights, gradients, optimizer states",
    minutes=20,
    difficulty=2,
    cases=_state_cases,
    reference=_states(),
    run=after(1),
    **EXACT,
    mistakes=(
        Mistake(
            "Adam keeps two numbers for each parameter, the mean of the gradients and that of their squares. One is counted "
            "here.",
            _states(moments={"sgd": 0, "momentum": 1, "adam": 1}.get),
        ),
        Mistake(
            "Adam was given three numbers a parameter. It keeps two; the gradient and the master copy have places of their "
            "own.",
            _states(moments={"sgd": 0, "momentum": 1, "adam": 3}.get),
        ),
        Mistake(
            "Momentum keeps one number for each parameter: the velocity.",
            _states(moments={"sgd": 0, "momentum": 0, "adam": 2}.get),
        ),
        Mistake(
            "Momentum keeps one number for each parameter, the velocity, not two.",
            _states(moments={"sgd": 0, "momentum": 2, "adam": 2}.get),
        ),
        Mistake("Plain SGD remembers nothing.", _states(moments={"sgd": 1, "momentum": 1, "adam": 2}.get)),
        Mistake(
            "The master copy is missing: with `mixed`, the optimizer holds a float32 copy of all weights, because an update is "
            "often too small for bfloat16 to notice.",
            _states(master=lambda precision: 0),
        ),
        Mistake(
            "The master copy is there for plain SGD too. It belongs to `mixed`, whatever the optimizer.",
            _sgd_without_master,
        ),
        Mistake(
            "The master copy was counted among the weights. It is the optimizer's, and so it is split from ZeRO-1 on.",
            _master_with_the_weights,
        ),
        Mistake(
            "A master copy was counted where there is none. Only `mixed` has it.",
            _states(master=lambda precision: 4),
        ),
        Mistake(
            "The master copy was counted with 2 bytes a number. It is there because it is float32.",
            _states(master=lambda precision: 2 * (precision == "mixed")),
        ),
        Mistake(
            "With `mixed`, the optimizer's numbers are float32: the mean of squares would not survive in bfloat16.",
            _states(moment={"float32": 4, "bfloat16": 2, "mixed": 2}.get),
        ),
        Mistake(
            "With `bfloat16`, the optimizer's numbers are bfloat16 too.",
            _states(moment={"float32": 4, "bfloat16": 4, "mixed": 4}.get),
        ),
        Mistake(
            "The gradients have the precision of the weights that they belong to: with `mixed` that is bfloat16 here.",
            _states(gradient={"float32": 4, "bfloat16": 2, "mixed": 4}.get),
        ),
        Mistake(
            "The gradients have the precision of the weights that they belong to, 2 bytes with `bfloat16` and `mixed`.",
            _states(gradient=lambda precision: 4),
        ),
        Mistake(
            "The precision is ignored: bfloat16 takes 2 bytes a number.",
            changed(_states(), precision="float32"),
        ),
        Mistake(
            "These are numbers, not bytes.",
            _states(
                weight=lambda _: 1, gradient=lambda _: 1, moment=lambda _: 1, master=lambda precision: precision == "mixed"
            ),
        ),
        Mistake("These are bits: eight of them make a byte.", scaled(_states(), 8, "weights", "gradients", "optimizer")),
        Mistake(
            "Nothing was split. ZeRO-1 splits the optimizer's part over the cards, ZeRO-2 also the gradients, ZeRO-3 all "
            "three.",
            changed(_states(), zero=0),
        ),
        Mistake(
            "Everything was divided by the number of cards. Plain data parallelism gives each card a whole copy; only the "
            "stages of ZeRO split.",
            changed(_states(), zero=3),
        ),
        Mistake(
            "A stage of ZeRO splits its own part and nothing else here. The stages build on one another: ZeRO-2 splits the "
            "optimizer's part and the gradients, ZeRO-3 all three.",
            _states(split=lambda zero: {"weights": zero == 3, "gradients": zero == 2, "optimizer": zero == 1}),
        ),
        Mistake(
            "The stages are off by one: ZeRO-1 splits the optimizer's part, ZeRO-2 also the gradients, ZeRO-3 also the "
            "weights.",
            _states(split=lambda zero: {"weights": zero >= 2, "gradients": zero >= 1, "optimizer": zero >= 0}),
        ),
        Mistake(
            "The order of the stages is another: first the optimizer's part, which is the largest, then the gradients, then "
            "the weights.",
            _states(split=lambda zero: {"weights": zero >= 1, "gradients": zero >= 2, "optimizer": zero >= 3}),
        ),
        Mistake(
            "The order of the stages is another: first the optimizer's part, which is the largest, then the gradients, then "
            "the weights.",
            _states(split=lambda zero: {"weights": zero >= 3, "gradients": zero >= 1, "optimizer": zero >= 2}),
        ),
    ),
    hints=(
        "Forget the cards first. How many numbers does each optimizer remember for a parameter, and how many bytes has one?",
        "With `mixed`: 2 bytes for the weight, 2 for its gradient, 4 for the master copy and 4 for each number that the "
        "optimizer remembers. The last two belong to the optimizer. Adam comes to 16 bytes a parameter.",
        "Divide the optimizer's part by `gpus` if zero >= 1, the gradients if zero >= 2, the weights if zero >= 3.",
    ),
)

# 7.6 saved_bytes(saved, parameter_storages) -> int


def _saved(name: str, storage: int, num_bytes: int, storage_bytes: int) -> dict:
    return {"name": name, "storage": storage, "bytes": num_bytes, "storage_bytes": storage_bytes}


def _saved_cases() -> dict:
    def with_twins(num_layers: int) -> list[dict]:
        """What `relu(x @ W)` keeps again and again: the input of the layer is the output of the one before."""
        kept = []
        for layer in range(num_layers):
            kept.append(_saved("input of matmul", 10 + layer, 4096, 4096))
            kept.append(_saved("weight of matmul", 100 + layer, 1024, 1024))
            kept.append(_saved("output of relu", 11 + layer, 4096, 4096))
        return kept

    return {
        "three things of their own, and a weight": {
            "saved": [_saved("x", 1, 800, 800), _saved("W", 2, 300, 300), _saved("h", 3, 500, 500), _saved("p", 4, 70, 70)],
            "parameter_storages": [2],
        },
        "a chain of ReLU layers": {"saved": with_twins(2), "parameter_storages": [100, 101]},
        "views: query, key and value are parts of one product, a weight is transposed": {
            "saved": [
                _saved("query", 5, 256, 768),
                _saved("key", 5, 256, 768),
                _saved("value", 5, 256, 768),
                _saved("W", 9, 640, 640),
                _saved("W, transposed", 9, 640, 640),
                _saved("last token of h", 6, 16, 512),
                _saved("mean", 7, 32, 32),
                _saved("std", 8, 32, 32),
            ],
            "parameter_storages": [9, 12],
        },
        "a part of a weight, and one name for two things": {
            "saved": [
                _saved("h", 1, 64, 64),
                _saved("rows of the table", 2, 32, 960),
                _saved("h", 3, 128, 128),
                _saved("h", 1, 64, 64),
            ],
            "parameter_storages": [2],
        },
        "nothing": {"saved": [], "parameter_storages": [1]},
    }


def _summed(
    *,
    key: Callable | None = lambda tensor: tensor["storage"],
    size: Callable = lambda tensor: tensor["storage_bytes"],
    parameter: Callable = lambda tensor, storages: tensor["storage"] in storages,
    skip_twins: bool = False,
) -> Callable:
    """The sum with its parts exchangeable; tensors with one `key` count once (with `skip_twins`, not at all)."""

    def saved_bytes(saved: list, parameter_storages: list) -> int:
        found: dict = {}
        for number, tensor in enumerate(saved):
            if not parameter(tensor, parameter_storages):
                found.setdefault(key(tensor) if key else number, []).append(size(tensor))
        return sum(sizes[0] for sizes in found.values() if not (skip_twins and len(sizes) > 1))

    return saved_bytes


SAVED = Exercise(
    id="7.6",
    name="saved_bytes",
    title="What autograd really keeps",
    minutes=15,
    difficulty=2,
    cases=_saved_cases,
    reference=_summed(),
    **EXACT,
    mistakes=(
        Mistake(
            "A storage was counted each time it was saved. The output of one layer is the input of the next: two entries, one "
            "piece of memory. Count each storage once. (For ResNet-18 this is 56 % too much.)",
            _summed(key=None),
        ),
        Mistake(
            "Storages were counted each time they were saved, and the weights with them. Count each storage once, and leave "
            "out those of the parameters.",
            _summed(key=None, parameter=lambda *_: False),
        ),
        Mistake(
            "The weights were counted too. Autograd saves them, but they lie in memory anyway: leave out the storages of the "
            "parameters.",
            _summed(parameter=lambda *_: False),
        ),
        Mistake(
            "These are the bytes of the tensors. A tensor may be a view of a larger storage, which stays in memory *as a "
            "whole* while the view lives: count `storage_bytes`.",
            _summed(size=lambda tensor: tensor["bytes"]),
        ),
        Mistake(
            "All views were added up by their own bytes. Count each storage once, with its `storage_bytes`.",
            _summed(key=None, size=lambda tensor: tensor["bytes"]),
        ),
        Mistake(
            "Tensors of one name were taken for one. A name says nothing; the storage does.",
            _summed(key=lambda tensor: tensor["name"]),
        ),
        Mistake(
            "Storages of one size were taken for one. Two pieces of memory may be equally large: compare their numbers.",
            _summed(key=lambda tensor: tensor["storage_bytes"]),
        ),
        Mistake(
            "A storage was counted again where it came back under another name. It counts once, whatever the name.",
            _summed(key=lambda tensor: (tensor["name"], tensor["storage"])),
        ),
        Mistake(
            "A storage that was saved twice was left out altogether. It counts once.",
            _summed(skip_twins=True),
        ),
        Mistake(
            "This is the number of storages. Add up their bytes.",
            _summed(size=lambda tensor: 1),
        ),
        Mistake(
            "Here only the parameters were counted. They are the ones to leave out.",
            _summed(parameter=lambda tensor, storages: tensor["storage"] not in storages),
        ),
    ),
    hints=(
        "Which of the entries need memory that nothing else has paid for?",
        "Go through the list with a set of the storages that are paid for. At the beginning, those of the parameters are.",
        "`{t['storage']: t['storage_bytes'] for t in saved if t['storage'] not in parameter_storages}` has each storage once.",
    ),
)
