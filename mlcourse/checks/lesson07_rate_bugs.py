"""Exercises of lesson 07 that hand over code with a rate misread: sparse for dense FLOP/s, bits for bytes."""

from collections.abc import Callable

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import CLOSE, after, changed, scaled

# 7.13 utilisation(sheet, *, total_params, active_params, num_tokens, gpu_hours) -> {"tflops", "utilisation"}


def _utilisation_cases() -> dict:
    def sheet(name: str, tflops: float, sparse: bool) -> dict:
        return {"name": name, "bf16_tflops": tflops, "with_sparsity": sparse}

    names = ("sheet", "total_params", "active_params", "num_tokens", "gpu_hours")
    cases = {
        "DeepSeek-V3's pre-training": (sheet("H800 SXM", 1979.0, True), 671e9, 37e9, 14.8e12, 2.664e6),
        "Llama 3.1 405B": (sheet("H100 SXM", 1979.0, True), 405e9, 405e9, 15.6e12, 30.84e6),
        "LLaMA 65B, a sheet that gives the dense rate": (sheet("A100 80 GB", 312.0, False), 65.2e9, 65.2e9, 1.4e12, 1_022_362),
        "experts, a dense sheet": (sheet("A100 80 GB", 312.0, False), 46.7e9, 12.9e9, 2e12, 4e5),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _utilisation(
    *,
    flops_each: int = 6,
    params: Callable = lambda total, active: active,
    seconds: Callable = lambda gpu_hours: 3600 * gpu_hours,
    dense: Callable = lambda tflops, sparse: tflops / 2 if sparse else tflops,
    fraction: Callable = lambda achieved, peak: achieved / peak,
) -> Callable:
    """What a GPU achieved, with its parts exchangeable; `dense` is its peak from the rate on the sheet."""

    def utilisation(sheet: dict, *, total_params: float, active_params: float, num_tokens: float, gpu_hours: float) -> dict:
        work = flops_each * params(total_params, active_params) * num_tokens
        achieved = work / seconds(gpu_hours) / 1e12
        peak = dense(sheet["bf16_tflops"], sheet["with_sparsity"])
        return {"tflops": achieved, "utilisation": fraction(achieved, peak)}

    return utilisation


UTILISATION = Exercise(
    id="7.13",
    name="utilisation",
    title="Find the bug: a data sheet that counts zeros",
    minutes=10,
    difficulty=2,
    cases=_utilisation_cases,
    reference=_utilisation(),
    run=after(1),
    **CLOSE,
    mistakes=(
        Mistake(
            "The sheet's rate is still taken as it stands. Where it says `with_sparsity`, two of every four weights are "
            "zero and are counted all the same: a dense product runs at half of it.",
            _utilisation(dense=lambda tflops, sparse: tflops),
        ),
        Mistake(
            "Every rate was halved. Only a sheet that says `with_sparsity` counts zeros; others give the dense rate.",
            _utilisation(dense=lambda tflops, sparse: tflops / 2),
        ),
        Mistake(
            "The rate with sparsity was doubled. It is the dense one twice already: halve it.",
            _utilisation(dense=lambda tflops, sparse: 2 * tflops if sparse else tflops),
        ),
        Mistake(
            "The dense rates were halved, and those with sparsity were left. It must be the other way round.",
            _utilisation(dense=lambda tflops, sparse: tflops if sparse else tflops / 2),
        ),
        Mistake(
            "The rate with sparsity was divided by 4. Two of four weights are zero: the dense rate is a half.",
            _utilisation(dense=lambda tflops, sparse: tflops / 4 if sparse else tflops),
        ),
        Mistake(
            "What was achieved was changed where the sheet counts zeros. The training run did what it did; it is the *peak* "
            "that must be halved.",
            lambda sheet, **named: scaled(_utilisation(), 2 if sheet["with_sparsity"] else 1, "tflops")(sheet, **named),
        ),
        Mistake(
            "What was achieved was halved where the sheet counts zeros. The training run did what it did; it is the *peak* "
            "that must be halved.",
            lambda sheet, **named: scaled(
                _utilisation(dense=lambda tflops, sparse: tflops),
                0.5 if sheet["with_sparsity"] else 1,
                "tflops",
                "utilisation",
            )(sheet, **named),
        ),
        Mistake(
            "All experts were counted. A token goes through the active parameters only.",
            _utilisation(params=lambda total, active: total),
        ),
        Mistake(
            "All experts were counted, and the sheet's rate is still taken as it stands. A token goes through the active "
            "parameters only; with sparsity the dense peak is half of the rate.",
            _utilisation(params=lambda total, active: total, dense=lambda tflops, sparse: tflops),
        ),
        Mistake(
            "An hour has 3600 seconds, and FLOP/s are for each of them.",
            _utilisation(seconds=lambda gpu_hours: gpu_hours),
        ),
        Mistake(
            "Training takes 6 FLOPs for each parameter and token: 2 forward, 4 backward.",
            _utilisation(flops_each=2),
        ),
        Mistake(
            "The fraction is upside down: achieved over peak.",
            _utilisation(fraction=lambda achieved, peak: peak / achieved),
        ),
        Mistake(
            "This is in per cent. Return the fraction, between 0 and 1.",
            _utilisation(fraction=lambda achieved, peak: 100 * achieved / peak),
        ),
    ),
    hints=(
        "The footnote of the sheet: *with sparsity*. What does the card skip when it reaches that rate, and does training do "
        "that?",
        "2:4 sparsity: two of every four weights are zero. The card skips them and counts them. Which peak is left for weights "
        "that are not zero, and on which sheets?",
        '`peak = sheet["bf16_tflops"] / 2 if sheet["with_sparsity"] else sheet["bf16_tflops"]`.',
    ),
)

# 7.14 epoch_time(num_examples, example_bytes, *, link_gbit, examples_per_second) -> {"seconds", "bound"}


def _epoch_cases() -> dict:
    names = ("num_examples", "example_bytes", "link_gbit", "examples_per_second")
    cases = {
        "1.28 million photographs over 1 Gbit/s": (1_281_167, 110_000, 1.0, 2500.0),
        "the same over 10 Gbit/s": (1_281_167, 110_000, 10.0, 2500.0),
        "CIFAR over a link of 10 Mbit/s": (50_000, 3_072, 0.01, 9000.0),
        "a fast link": (400_000, 588_000, 100.0, 1100.0),
        "nearly alike": (10_000, 125_000, 1.0, 950.0),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _epoch(
    *,
    loading: Callable = lambda num_bytes, gbit: 8 * num_bytes / (gbit * 1e9),
    computing: Callable = lambda examples, rate: examples / rate,
    seconds: Callable = max,
    bound: Callable = lambda loading, computing: "data" if loading > computing else "compute",
) -> Callable:
    """The time of an epoch with its parts exchangeable."""

    def epoch_time(num_examples: int, example_bytes: int, *, link_gbit: float, examples_per_second: float) -> dict:
        times = loading(num_examples * example_bytes, link_gbit), computing(num_examples, examples_per_second)
        return {"seconds": seconds(times), "bound": bound(*times)}

    return epoch_time


EPOCH_TIME = Exercise(
    id="7.14",
    name="epoch_time",
    title="Find the bug: a link that is eight times too fast",
    minutes=10,
    difficulty=1,
    cases=_epoch_cases,
    reference=_epoch(),
    run=after(2),
    **CLOSE,
    mistakes=(
        Mistake(
            "Bits are still taken for bytes: the link carries gigabits, the examples are bytes, and a byte has 8 bits.",
            _epoch(loading=lambda num_bytes, gbit: num_bytes / (gbit * 1e9)),
        ),
        Mistake(
            "The factor of 8 is on the wrong side. A byte has 8 bits, so the link carries only an eighth as many bytes: "
            "loading takes 8 times as long.",
            _epoch(loading=lambda num_bytes, gbit: num_bytes / (8 * gbit * 1e9)),
        ),
        Mistake(
            "A network's giga is 10⁹. Powers of two are for memory.",
            _epoch(loading=lambda num_bytes, gbit: 8 * num_bytes / (gbit * 2**30)),
        ),
        Mistake(
            "A byte has 8 bits, not 10.",
            _epoch(loading=lambda num_bytes, gbit: 10 * num_bytes / (gbit * 1e9)),
        ),
        Mistake(
            "The link's gigabits were taken for megabits: times 10⁹.",
            _epoch(loading=lambda num_bytes, gbit: 8 * num_bytes / (gbit * 1e6)),
        ),
        Mistake(
            "The times were added. The next batch is loaded while this one is computed, so the slower of the two decides.",
            _epoch(seconds=sum),
        ),
        Mistake(
            "This is the faster of the two. An epoch waits for the slower one.",
            _epoch(seconds=min),
        ),
        Mistake(
            "The time is right, but the name is that of the faster of the two.",
            _epoch(bound=lambda loading, computing: "compute" if loading > computing else "data"),
        ),
        Mistake(
            "The name still goes by the old comparison, with bits for bytes.",
            _epoch(bound=lambda loading, computing: "data" if loading / 8 > computing else "compute"),
        ),
        Mistake(
            "This is the time of loading, whatever computing takes.",
            _epoch(seconds=lambda times: times[0]),
        ),
        Mistake(
            "This is one example. An epoch has `num_examples` of them.",
            changed(_epoch(), num_examples=1),
        ),
        Mistake(
            "The examples were multiplied by their rate. Examples divided by examples a second are seconds.",
            _epoch(computing=lambda examples, rate: examples * rate),
        ),
        Mistake(
            "The link was made faster for the computing too: only loading goes over it, in 8 bits a byte.",
            _epoch(computing=lambda examples, rate: 8 * examples / rate),
        ),
    ),
    hints=(
        "Write the unit behind every number of the broken code, and divide the units like numbers.",
        "b is for bits and B for bytes: 1 Gbit/s carries 0.125 GB a second.",
        "`loading = num_examples * example_bytes * 8 / (link_gbit * 1e9)`; the rest is right as it is.",
    ),
)
