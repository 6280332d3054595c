"""Exercises of lesson 07 on time: hours, money and energy of a whole run, and what a single step waits for."""

from collections.abc import Callable

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import CLOSE, after, changed, scaled

# 7.11 run_cost(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue)
#      -> {"hours", "gpu_hours", "dollars", "kwh"}


def _run_cases() -> dict:
    names = ("num_params", "num_tokens", "gpus", "peak_tflops", "utilisation", "price", "watts", "pue")
    cases = {
        "GPT-2 on 300 billion tokens, eight A100": (124e6, 300e9, 8, 312.0, 0.3, 1.8, 400.0, 1.2),
        "8 billion on 15 trillion, 2,000 H100": (8.03e9, 15e12, 2000, 989.0, 0.4, 2.5, 700.0, 1.1),
        "one small card": (3e6, 60e6, 1, 65.0, 0.25, 0.35, 70.0, 1.4),
        "one hour on two cards": (5e8, 1.2e9, 2, 1000.0, 0.5, 3.0, 500.0, 1.0),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _cost(
    *,
    flops: Callable = lambda params, tokens: 6 * params * tokens,
    speed: Callable = lambda peak, utilisation: 1e12 * peak * utilisation,
    an_hour: float = 3600,
    hours: Callable = lambda gpu_hours, gpus: gpu_hours / gpus,
    dollars: Callable = lambda gpu_hours, hours, price: gpu_hours * price,
    kwh: Callable = lambda gpu_hours, hours, watts, pue: gpu_hours * watts * pue / 1000,
) -> Callable:
    """The four results with their parts exchangeable; `speed` is that of one GPU in FLOP/s."""

    def run_cost(
        num_params: float,
        num_tokens: float,
        *,
        gpus: int,
        peak_tflops: float,
        utilisation: float,
        price: float,
        watts: float,
        pue: float,
    ) -> dict:
        gpu_hours = flops(num_params, num_tokens) / speed(peak_tflops, utilisation) / an_hour
        wall = hours(gpu_hours, gpus)
        return {
            "hours": wall,
            "gpu_hours": gpu_hours,
            "dollars": dollars(gpu_hours, wall, price),
            "kwh": kwh(gpu_hours, wall, watts, pue),
        }

    return run_cost


def _exchanged(*args: float, **named: float) -> dict:
    found = _cost()(*args, **named)
    return found | {"hours": found["gpu_hours"], "gpu_hours": found["hours"]}


def _energy_by_utilisation(*args: float, **named: float) -> dict:
    return scaled(_cost(), named["utilisation"], "kwh")(*args, **named)


RUN_COST = Exercise(
    id="7.11",
    name="run_cost",
    title="Hours, money and energy of a run",
    minutes=15,
    difficulty=1,
    cases=_run_cases,
    reference=_cost(),
    run=after(2),
    **CLOSE,
    mistakes=(
        Mistake(
            "The time was multiplied by the utilisation. A card that is used to 30 % is slower, so it takes *longer*: divide.",
            _cost(speed=lambda peak, utilisation: 1e12 * peak / utilisation),
        ),
        Mistake(
            "The utilisation is forgotten. Nobody trains at the peak of the data sheet.",
            changed(_cost(), utilisation=1.0),
        ),
        Mistake(
            "These are seconds. An hour has 3600 of them.",
            _cost(an_hour=1),
        ),
        Mistake("These are minutes. An hour has 3600 seconds.", _cost(an_hour=60)),
        Mistake(
            "Only the hours are seconds; the GPU-hours are hours. Divide by 3600 there too.",
            scaled(_cost(), 3600, "hours"),
        ),
        Mistake(
            "The price is for one GPU and one hour. It was paid for one GPU only: take the GPU-hours, not the hours on the "
            "clock.",
            _cost(dollars=lambda gpu_hours, hours, price: hours * price),
        ),
        Mistake(
            "Price and power are those of one GPU. Take the GPU-hours for both, not the hours on the clock.",
            _cost(
                dollars=lambda gpu_hours, hours, price: hours * price,
                kwh=lambda gpu_hours, hours, watts, pue: hours * watts * pue / 1000,
            ),
        ),
        Mistake(
            "The power is that of one GPU: take the GPU-hours for the energy, not the hours on the clock.",
            _cost(kwh=lambda gpu_hours, hours, watts, pue: hours * watts * pue / 1000),
        ),
        Mistake(
            "The number of GPUs is forgotten: they work side by side, so the clock shows GPU-hours / gpus.",
            _cost(hours=lambda gpu_hours, gpus: gpu_hours),
        ),
        Mistake(
            "More GPUs make a run longer here. They share the work: hours = GPU-hours / gpus.",
            _cost(hours=lambda gpu_hours, gpus: gpu_hours * gpus),
        ),
        Mistake(
            "Hours and GPU-hours are exchanged. All GPUs together work GPU-hours; the clock shows fewer.",
            _exchanged,
        ),
        Mistake(
            "This is the forward pass only, 2ND. Training takes 6ND: 2 forward, 4 backward.",
            _cost(flops=lambda params, tokens: 2 * params * tokens),
        ),
        Mistake(
            "The factor 6 is forgotten: a parameter costs 6 FLOPs a token, 2 forward and 4 backward.",
            _cost(flops=lambda params, tokens: params * tokens),
        ),
        Mistake(
            "These are multiply-adds: 3ND. Each is two operations: 6ND.",
            _cost(flops=lambda params, tokens: 3 * params * tokens),
        ),
        Mistake(
            "A TFLOP/s is 10¹² operations a second.",
            _cost(speed=lambda peak, utilisation: peak * utilisation),
        ),
        Mistake(
            "A TFLOP/s is 10¹² operations a second, not 10⁹ and not 2⁴⁰.",
            _cost(speed=lambda peak, utilisation: 1e9 * peak * utilisation),
        ),
        Mistake(
            "A TFLOP/s is 10¹² operations a second. Powers of two are for memory.",
            _cost(speed=lambda peak, utilisation: 2**40 * peak * utilisation),
        ),
        Mistake(
            "These are watt-hours: a kWh has 1000 of them.",
            _cost(kwh=lambda gpu_hours, hours, watts, pue: gpu_hours * watts * pue),
        ),
        Mistake(
            "The PUE is forgotten: for each watt of the cards the building takes PUE watts.",
            changed(_cost(), pue=1.0),
        ),
        Mistake(
            "The energy was divided by the PUE. Cooling comes on top: multiply.",
            changed(_cost(), pue=lambda pue: 1 / pue),
        ),
        Mistake(
            "The energy was multiplied by the utilisation. A card that waits for memory draws nearly its full power: leave "
            "it out.",
            _energy_by_utilisation,
        ),
    ),
    hints=(
        "How many operations has the run, and how many does one GPU really do in a second? Their quotient is the work in "
        "GPU-seconds.",
        "`gpu_hours = 6 * num_params * num_tokens / (peak_tflops * 1e12 * utilisation) / 3600`. Which of the other results "
        "hang on the GPU-hours, which on the clock?",
        "hours = gpu_hours / gpus, dollars = gpu_hours * price, kwh = gpu_hours * watts * pue / 1000.",
    ),
)

# 7.12 step_time(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us) -> {"seconds", "bound"}


def _step_cases() -> dict:
    names = ("flops", "bytes_moved", "kernels", "peak_tflops", "bandwidth", "launch_us")
    cases = {
        "ResNet-18, batch 128, bfloat16 on an A100": (426e9, 6.5e9, 310, 312.0, 1555.0, 7.0),
        "a large product of matrices on an H100": (1.1e12, 4.0e8, 1, 989.0, 3350.0, 5.0),
        "hundreds of tiny products": (3e8, 2e7, 900, 65.0, 320.0, 8.0),
        "the same numbers on a slow card": (426e9, 6.5e9, 310, 8.1, 320.0, 7.0),
        "memory and compute nearly alike": (3.0e11, 1.2e9, 40, 100.0, 390.0, 10.0),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _step(
    *,
    compute: Callable = lambda flops, peak: flops / (peak * 1e12),
    memory: Callable = lambda moved, bandwidth: moved / (bandwidth * 1e9),
    overhead: Callable = lambda kernels, launch: kernels * launch * 1e-6,
    seconds: Callable = max,
    bound: Callable = lambda times: max(times, key=times.get),
) -> Callable:
    """The roofline with its parts exchangeable."""

    def step_time(
        flops: float, bytes_moved: float, kernels: int, *, peak_tflops: float, bandwidth: float, launch_us: float
    ) -> dict:
        times = {
            "compute": compute(flops, peak_tflops),
            "memory": memory(bytes_moved, bandwidth),
            "overhead": overhead(kernels, launch_us),
        }
        return {"seconds": seconds(times.values()), "bound": bound(times)}

    return step_time


STEP_TIME = Exercise(
    id="7.12",
    name="step_time",
    title="What a step waits for",
    minutes=10,
    difficulty=1,
    cases=_step_cases,
    reference=_step(),
    run=after(3),
    **CLOSE,
    mistakes=(
        Mistake(
            "The times were added. Computing, moving and launching happen side by side: the slowest of the three decides.",
            _step(seconds=sum),
        ),
        Mistake(
            "This is the fastest of the three. The step waits for the slowest.",
            _step(seconds=min, bound=lambda times: min(times, key=times.get)),
        ),
        Mistake(
            "The time is that of the fastest of the three. The step waits for the slowest.",
            _step(seconds=min),
        ),
        Mistake(
            "The time is right, but the name is that of the fastest of the three.",
            _step(bound=lambda times: min(times, key=times.get)),
        ),
        Mistake(
            "Only the FLOPs were looked at. Bytes that must be moved, or kernels that must be launched, often take longer.",
            _step(memory=lambda *_: 0.0, overhead=lambda *_: 0.0),
        ),
        Mistake(
            "The launches are forgotten, or only one is counted. Many small kernels keep a card waiting: kernels * "
            "launch_us microseconds.",
            _step(overhead=lambda *_: 0.0),
        ),
        Mistake(
            "The time to move the bytes is forgotten, or far too short: bytes_moved / (bandwidth * 1e9).",
            _step(memory=lambda *_: 0.0),
        ),
        Mistake(
            "A microsecond is 10⁻⁶ seconds, a millisecond 10⁻³.",
            _step(overhead=lambda kernels, launch: kernels * launch * 1e-3),
        ),
        Mistake(
            "Microseconds were taken for seconds: times 10⁻⁶.",
            _step(overhead=lambda kernels, launch: kernels * launch),
        ),
        Mistake(
            "The bandwidth is in GB/s, gigabytes: these bytes were turned into bits.",
            _step(memory=lambda moved, bandwidth: 8 * moved / (bandwidth * 1e9)),
        ),
        Mistake(
            "The bandwidth is in GB/s, 10⁹ bytes a second. 2³⁰ is a GiB.",
            _step(memory=lambda moved, bandwidth: moved / (bandwidth * 2**30)),
        ),
        Mistake(
            "Multiply-adds were made of the FLOPs. Peaks are given in FLOP/s too: divide one by the other.",
            _step(compute=lambda flops, peak: flops / 2 / (peak * 1e12)),
        ),
        Mistake(
            "Upside down: FLOP/s over FLOPs. Work divided by speed is time.",
            _step(compute=lambda flops, peak: peak * 1e12 / flops, memory=lambda moved, bandwidth: bandwidth * 1e9 / moved),
        ),
        Mistake(
            "It is always bound by compute here. The same step can be bound by memory on one card and by compute on "
            "another: name the slowest of the three.",
            _step(bound=lambda times: "compute"),
        ),
        Mistake(
            "It is always bound by memory here. Large products of matrices are bound by compute, many small kernels by their "
            "launches.",
            _step(bound=lambda times: "memory"),
        ),
    ),
    hints=(
        "Three times: to compute, to move the bytes, to launch the kernels. Bring all three to seconds.",
        "flops / (peak_tflops * 1e12), bytes_moved / (bandwidth * 1e9), kernels * launch_us * 1e-6.",
        "With the three in a dict `times`, the answer is `max(times.values())` and `max(times, key=times.get)`.",
    ),
)
