"""`python -m mlcourse size --model resnet18-cifar --batch 128 --gpu t4` into a table and a verdict."""

import argparse
import sys

from mlcourse.sizing.costs import run_cost
from mlcourse.sizing.devices import DEVICES, GIB
from mlcourse.sizing.estimate import Estimate, largest_batch, size, ways_to_fit
from mlcourse.sizing.task import MODELS


def table(estimate: Estimate) -> str:
    """The memory of each phase by part, in MB (1e6 B), largest phase marked.

    >>> print(table(size("mlp-digits", 32)).splitlines()[0])
    MB             weights  gradients  optimizer  saved  loss_head  temporary  communication    sum
    """
    parts = list(next(iter(estimate.phases.values())))
    lines = [f"{'MB':14} " + "  ".join(f"{part:>{max(5, len(part))}}" for part in parts) + "    sum"]
    for phase, sizes in estimate.phases.items():
        cells = "  ".join(f"{sizes[part] / 1e6:{max(5, len(part))}.1f}" for part in parts)
        mark = "  <- the peak" if phase == estimate.limiting_phase else ""
        lines.append(f"{phase:14} {cells}  {sum(sizes.values()) / 1e6:7.1f}{mark}")
    return "\n".join(lines)


def report(estimate: Estimate) -> str:
    """Everything an estimate holds, for reading."""
    total, seconds = estimate.total, estimate.time.seconds
    gib = f"{total.low / GIB:.2f} to {total.high / GIB:.2f} GiB"
    words = {"fits": "fits", "tight": "is tight: it fits in the good case only", "does not fit": "does not fit"}
    return "\n".join(
        [
            table(estimate),
            f"parameters {estimate.parameters:,}, trained {estimate.trainable:,}",
            f"on the card {total.low / 1e9:.2f} to {total.high / 1e9:.2f} GB, usually {total.middle / 1e9:.2f} GB ({gib})",
            f"a step: {estimate.flops / 1e9:,.1f} GFLOP, {estimate.bytes_moved / 1e9:.2f} GB moved, {1e3 * seconds.low:.1f} to "
            f"{1e3 * seconds.high:.1f} ms, bound by {estimate.time.bound}",
            f"verdict: batch {estimate.batch} {words[estimate.verdict]} on {estimate.device.name} "
            f"({estimate.device.memory / 1e9:.0f} GB)",
        ]
    )


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(
        prog="python -m mlcourse size", description="What a training step needs, and whether it fits."
    )
    parse.add_argument("--model", required=True, help=f"one of {', '.join(MODELS)}, or module:function of your own")
    parse.add_argument("--batch", type=int, required=True, help="examples in a step, on one card")
    parse.add_argument("--gpu", default="t4", help=", ".join(DEVICES))
    parse.add_argument("--optimizer", default="adamw", help="sgd, momentum, adam or adamw")
    parse.add_argument("--precision", default="fp32", help="fp32, mixed-bf16, mixed-fp16, bf16 or fp8")
    parse.add_argument("--attention", help="fused or naive, for models with attention")
    parse.add_argument("--dropout", type=float, help="for models that take it")
    parse.add_argument("--checkpoint", action="store_true", help="recompute each block in the backward pass")
    parse.add_argument("--lora", type=int, default=0, help="rank of the trained update of linear layers")
    parse.add_argument("--accumulate", type=int, default=1, help="parts of a batch whose gradients are added")
    parse.add_argument("--ranks", type=int, default=1, help="cards that share the work")
    parse.add_argument("--zero", type=int, default=0, help="ZeRO stage: 0 is data parallel, 3 is FSDP")
    parse.add_argument("--steps", type=int, help="also say what so many steps take")
    parse.add_argument("--price", type=float, default=0.0, help="of one card for an hour, with --steps")
    return parse


def main(argv: list[str]) -> int:
    """0 if it fits, 1 if it is tight or does not fit, 2 for a question that can't be answered."""
    options = vars(parser().parse_args(argv))
    model, batch, gpu, steps, price = (options.pop(name) for name in ("model", "batch", "gpu", "steps", "price"))
    try:
        estimate = size(model, batch, gpu=gpu, **options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(report(estimate))
    if estimate.verdict == "fits":
        most = largest_batch(model, gpu=gpu, limit=64 * batch, **options | {"accumulate": 1})
        print(f"the largest batch that usually fits: {most}" + (" or more" if most == 64 * batch else ""))
    else:
        ways = ways_to_fit(model, batch, gpu=gpu, **options)
        print("what would make it fit, cheapest first:" if ways else "no single change and no card of the table makes it fit")
        for change in ways:
            print(f"  {change.words}: {change.estimate.total.high / 1e9:.1f} GB at most, {change.slowdown:.2f} x the step time")
    if steps:
        run = run_cost(estimate.time.seconds, steps, gpu, devices=options["ranks"], price_per_hour=price)
        print(f"{steps} steps: {run.hours.low:.2f} to {run.hours.high:.2f} h, {run.cost.low:.2f} to {run.cost.high:.2f} money, "
              f"{run.kwh.middle:.2f} kWh, {run.co2_kg.middle:.2f} kg CO2")  # fmt: skip
    print("assumed:", *estimate.assumptions, sep="\n- ")
    return 0 if estimate.verdict == "fits" else 1
