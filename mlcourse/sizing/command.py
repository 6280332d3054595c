"""`python -m mlcourse size --model resnet18-cifar --batch 128 --gpu t4` into a table and a verdict."""

import argparse
import sys

from mlcourse.sizing.costs import Dataset
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
    """What an estimate says of memory and of a step, for reading; `cards`, `run_lines` and its assumptions say the rest."""
    total, seconds = estimate.total, estimate.time.seconds
    gib = f"{total.low / GIB:.2f} to {total.high / GIB:.2f} GiB"
    words = {"fits": "fits", "tight": "is tight: it fits in the good case only", "does not fit": "does not fit"}
    return "\n".join(
        [
            table(estimate),
            f"parameters {estimate.parameters:,}, trained {estimate.trainable:,}",
            f"on the card {total.low / 1e9:.2f} to {total.high / 1e9:.2f} GB, usually {total.middle / 1e9:.2f} GB ({gib})",
            f'rule of thumb "activations x 4, and 2 GB": {estimate.rule_of_thumb / 1e9:.2f} GB, whatever the batch',
            f"a step: {estimate.flops / 1e9:,.1f} GFLOP, {estimate.bytes_moved / 1e9:.2f} GB moved, {1e3 * seconds.low:.1f} to "
            f"{1e3 * seconds.high:.1f} ms, bound by {estimate.time.bound}",
            f"verdict: batch {estimate.batch} {words[estimate.verdict]} on {estimate.device.name} "
            f"({estimate.device.memory / 1e9:.0f} GB)",
        ]
    )


def cards(estimate: Estimate) -> str:
    """One line for each verdict: on which cards of the table it fits, and on which not."""
    by_verdict: dict[str, list[str]] = {}
    for key, words in estimate.verdicts.items():
        by_verdict.setdefault(words, []).append(key)
    order = sorted(by_verdict, key=lambda words: ("fits", "tight", "does not fit").index(words) if words[:5] != "lacks" else 3)
    return "\n".join(f"{words}: {', '.join(by_verdict[words])}" for words in order)


def run_lines(estimate: Estimate) -> str:
    """Hours, money, energy and CO2 of the run, if it has a length; disk and RAM."""
    needs, run, lines = estimate.storage, estimate.run, []
    if run:
        lines.append(
            f"the run: {run.hours.low:.2f} to {run.hours.high:.2f} h, {run.cost.low:.2f} to {run.cost.high:.2f} money, "
            f"{run.kwh.low:.2f} to {run.kwh.high:.2f} kWh, {run.co2_kg.low:.2f} to {run.co2_kg.high:.2f} kg CO2"
        )
    lines.append(f"disk {needs.disk / 1e9:.2f} GB, RAM {needs.ram / 1e9:.2f} GB")
    return "\n".join(lines)


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
    parse.add_argument("--steps", type=int, help="length of the run: what do so many steps take")
    parse.add_argument("--epochs", type=int, help="length of the run in passes over --examples")
    parse.add_argument("--examples", type=int, help="of the data set, with --example-bytes")
    parse.add_argument("--example-bytes", type=int, default=0, help="of one example, stored as bytes")
    parse.add_argument("--price", type=float, default=0.0, help="of one card for an hour")
    parse.add_argument("--grid", type=float, default=0.475, help="kg of CO2 a kWh")
    return parse


def main(argv: list[str]) -> int:
    """0 if it fits, 1 if it is tight or does not fit, 2 for a question that can't be answered."""
    options = vars(parser().parse_args(argv))
    model, batch, gpu = (options.pop(name) for name in ("model", "batch", "gpu"))
    examples, example_bytes = options.pop("examples"), options.pop("example_bytes")
    run = {"price_per_hour": options.pop("price")} | {name: options.pop(name) for name in ("steps", "epochs", "grid")}
    dataset = None if examples is None else Dataset(examples, example_bytes)
    try:
        estimate = size(model, batch, gpu=gpu, dataset=dataset, **run, **options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(report(estimate))
    print(cards(estimate))
    if estimate.verdict == "fits":
        most = largest_batch(model, gpu=gpu, limit=64 * batch, **options | {"accumulate": 1})
        print(f"the largest batch that fits: {most}" + (" or more" if most == 64 * batch else ""))
    else:
        ways = ways_to_fit(model, batch, gpu=gpu, **options)
        print("what would make it fit, cheapest first:" if ways else "no single change and no card of the table makes it fit")
        for change in ways:
            print(f"  {change.words}: {change.estimate.total.high / 1e9:.1f} GB at most, {change.slowdown:.2f} x the step time")
    print(run_lines(estimate))
    print("assumed:", *estimate.assumptions, sep="\n- ")
    return 0 if estimate.verdict == "fits" else 1
