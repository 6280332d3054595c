"""Sizing: what is traced on shapes against a live step, formulas against traces, and every sentence of the verdict."""

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mlcourse.sizing import DEVICES, Task, find_device, find_task, largest_batch, measure, size, ways_to_fit
from mlcourse.sizing.allocator import reserved_bytes
from mlcourse.sizing.closed_form import Shape, closed_form, parameters_of
from mlcourse.sizing.command import main, report
from mlcourse.sizing.costs import Range, run_cost, step_time, storage, utilisation
from mlcourse.sizing.models_torch import gpt, mlp
from mlcourse.sizing.parallel import shard
from mlcourse.sizing.precision import AsOnGPU
from mlcourse.sizing.trace_torch import trace_torch

GPT_CHAR, GPT2 = Shape(6, 384, 6, 256, 65), Shape(12, 768, 12, 1024, 50257)


def small_gpt(attention="fused", dropout=0.0):
    return gpt(layers=2, width=64, heads=4, context=32, vocabulary=50, attention=attention, dropout=dropout)


# The trace


@pytest.mark.parametrize("optimizer, states", [("sgd", 0), ("momentum", 1), ("adam", 2), ("adamw", 2)])
def test_parameters_gradients_and_optimizer_states_are_exact_to_the_byte(optimizer, states):
    trace = trace_torch(mlp((64, 128, 128, 10)), 32, optimizer=optimizer)
    n = 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    counters = 4 * 6 if states == 2 else 0  # Adam keeps the number of steps for each of the 6 arrays
    assert trace.parameters == trace.trainable == n
    assert trace.phases["load"]["weights"] == 4 * n
    assert trace.phases["optimizer_step"]["gradients"] == 4 * n
    assert trace.phases["load"]["optimizer"] == states * 4 * n + counters


def test_saved_activations_of_an_mlp_are_those_counted_by_hand():
    # inputs, both hidden layers after ReLU, the log-softmax, the targets (8 bytes), and the scalar of the loss's weights
    saved = 4 * (32 * 64 + 2 * 32 * 128 + 32 * 10) + 8 * 32 + 4
    assert trace_torch(mlp((64, 128, 128, 10)), 32).saved == saved


CASES = [
    pytest.param(task, batch, options, id=f"{name} {batch} {options}")
    for name, task, batch, options in [
        ("mlp", mlp((64, 128, 10)), 32, {}),
        ("mlp", mlp((64, 128, 10)), 32, {"precision": "bf16"}),
        ("resnet", find_task("resnet18-cifar"), 1, {"optimizer": "momentum"}),
        *(
            (f"gpt {attention} dropout {dropout}", small_gpt(attention, dropout), 3, options)
            for attention, dropout in (("fused", 0.0), ("naive", 0.0), ("naive", 0.1))
            for options in ({}, {"precision": "mixed-bf16"}, {"precision": "bf16"}, {"checkpoint": True}, {"lora": 4})
        ),
    ]
]


@pytest.mark.parametrize("task, batch, options", CASES)
def test_the_trace_on_shapes_is_the_step_on_real_memory(task, batch, options):
    traced, live = (trace_torch(task, batch, device=device, **options) for device in ("meta", "cpu"))
    # The kernels of a CPU keep a little scratch that shapes do not show: hence 1 %, the goal, not equality.
    assert traced.saved == pytest.approx(live.saved, rel=0.01)
    assert traced.peak == pytest.approx(live.peak, rel=0.01)
    assert traced.parameters == live.parameters


@pytest.mark.parametrize(
    "model, batch, options, saved, peak",
    [  # figures of an independent count, in MB
        ("resnet18-cifar", 128, {"optimizer": "momentum"}, 601.7, 712.4),
        ("resnet18-cifar", 128, {"optimizer": "momentum", "precision": "mixed-bf16"}, 323.3, 425.4),
        ("resnet18-cifar", 512, {"optimizer": "momentum"}, 2407, None),
        ("resnet18-imagenet", 128, {"optimizer": "momentum"}, 2839, None),
        ("gpt-char", 64, {}, 2474.7, 2678),
        ("gpt-char", 64, {"precision": "mixed-bf16", "checkpoint": True}, 193.4, 575),
        ("gpt2", 4, {}, 3267.7, 6408),
        ("gpt2", 16, {"precision": "mixed-bf16"}, 9065, 17145),
    ],
)
def test_known_models_give_the_figures_counted_elsewhere(model, batch, options, saved, peak):
    trace = trace_torch(find_task(model), batch, **options)
    assert trace.saved / 1e6 == pytest.approx(saved, rel=0.001)
    assert peak is None or trace.peak / 1e6 == pytest.approx(peak, rel=0.001)


def test_flops_are_those_of_the_flop_counter():
    task = small_gpt()
    with FlopCounterMode(display=False) as counter, torch.device("meta"), AsOnGPU():
        task.loss(task.model(), *task.batch(3)).backward()
    assert trace_torch(task, 3).flops == pytest.approx(counter.get_total_flops(), rel=0.001)


def test_a_larger_batch_saves_more_and_needs_more_flops():
    small, large = (trace_torch(small_gpt(), batch) for batch in (2, 4))
    assert large.flops == 2 * small.flops
    assert large.saved - small.saved == pytest.approx(small.saved, rel=0.01)


def test_checkpointing_saves_less_and_computes_the_blocks_once_more():
    plain, again = (trace_torch(small_gpt(), 8, checkpoint=checkpoint) for checkpoint in (False, True))
    assert again.saved < 0.4 * plain.saved
    assert again.forward_flops == plain.forward_flops
    assert plain.flops < again.flops < plain.flops + plain.forward_flops


def test_lora_trains_few_parameters_and_keeps_the_activations():
    whole, thin = (trace_torch(small_gpt(), 8, lora=lora) for lora in (0, 4))
    assert thin.trainable < 0.2 * whole.trainable
    assert thin.phases["optimizer_step"]["gradients"] == 4 * thin.trainable
    assert thin.saved > 0.9 * whole.saved


def test_gradients_that_persist_are_there_when_the_forward_pass_peaks():
    gone, kept = (trace_torch(small_gpt(), 4, keep_gradients=keep).phases["forward"]["gradients"] for keep in (False, True))
    assert (gone, kept) == (0, 4 * trace_torch(small_gpt(), 4).parameters)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch": 0}, "batch=0; a step needs at least 1 example"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'. Did you mean 'adam'"),
        ({"precision": "fp64"}, "unknown precision 'fp64'"),
        ({"checkpoint": True}, "this model has none. Put its blocks in one"),
        ({"lora": 4, "lora_targets": "qkv"}, "no linear layer's name ends with lora_targets='qkv'; they end with"),
    ],
)
def test_a_step_that_cannot_be_traced_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        trace_torch(mlp((4, 3, 2)), options.pop("batch", 1), **options)


# Formulas


@pytest.mark.parametrize("precision", ["fp32", "mixed-bf16", "bf16"])
@pytest.mark.parametrize("attention, dropout", [("fused", 0.0), ("fused", 0.1), ("naive", 0.0), ("naive", 0.1)])
@pytest.mark.parametrize("name, shape, batch", [("gpt-char", GPT_CHAR, 64)])
def test_the_closed_form_is_within_one_percent_of_the_trace(name, shape, batch, attention, dropout, precision):
    trace = trace_torch(find_task(name, attention=attention, dropout=dropout), batch, precision=precision)
    formula = closed_form(shape, batch, precision=precision, attention=attention, dropout=dropout > 0)
    assert formula.parameters == parameters_of(shape) == trace.parameters
    assert formula.saved == pytest.approx(trace.saved, rel=0.01)
    assert formula.tensor_peak == pytest.approx(trace.peak, rel=0.01)
    assert formula.flops == pytest.approx(trace.flops, rel=0.001)


@pytest.mark.parametrize("precision, batch", [("fp32", 4), ("mixed-bf16", 16)])
def test_the_closed_form_holds_for_a_large_vocabulary_where_the_loss_head_peaks(precision, batch):
    trace, formula = trace_torch(find_task("gpt2"), batch, precision=precision), closed_form(GPT2, batch, precision=precision)
    assert formula.saved == pytest.approx(trace.saved, rel=0.01)
    assert formula.tensor_peak == pytest.approx(trace.peak, rel=0.01)


@pytest.mark.parametrize("kind, name", [("optimizer", "sdg"), ("precision", "fp33"), ("attention", "fuse")])
def test_the_closed_form_names_what_it_does_not_know(kind, name):
    with pytest.raises(ValueError, match=f"unknown {kind} '{name}'. Did you mean"):
        closed_form(GPT_CHAR, 1, **{kind: name})


def test_large_allocations_get_a_segment_each_and_freed_ones_are_used_again():
    mib = 2**20
    assert reserved_bytes([(30 * mib, 1), (11 * mib, 2)]) == 42 * mib
    assert reserved_bytes([(30 * mib, 1), (-30 * mib, 1), (11 * mib, 2), (11 * mib, 3)]) == 30 * mib
    assert reserved_bytes([(3 * mib, 1), (3 * mib, 2)]) == 20 * mib
    # Two halves that were freed are merged again; were they not, the third would need a segment.
    halves = [(20 * mib, 0), (-20 * mib, 0), (10 * mib, 1), (10 * mib, 2), (-10 * mib, 1), (-10 * mib, 2), (20 * mib, 3)]
    assert reserved_bytes(halves) == 20 * mib


@pytest.mark.parametrize("zero, gigabytes", [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_the_zero_stages_give_the_row_of_their_paper(zero, gigabytes):
    # Rajbhandari et al. 2020, figure 1: 7.5e9 parameters, 64 cards, fp16 weights and gradients, 12 bytes of states.
    whole = {"load": {"weights": 15_000_000_000, "gradients": 15_000_000_000, "optimizer": 90_000_000_000}}
    parts = shard(whole, ranks=64, zero=zero, gradient_bytes=0, block_bytes=0)["load"]
    assert sum(parts.values()) / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_sharding_counts_communication_and_leaves_activations_alone():
    one, many = (size("gpt-char", 8, ranks=ranks, zero=3) for ranks in (1, 8))
    assert one.phases["backward"]["communication"] == 0 < many.phases["backward"]["communication"]
    assert many.phases["forward"]["saved"] == one.phases["forward"]["saved"]
    assert size("gpt-char", 8, ranks=8).phases["backward"]["communication"] == 4 * one.parameters
    with pytest.raises(ValueError, match="zero=4, ranks=2; stages are 0"):
        size("gpt-char", 8, ranks=2, zero=4)


# Devices, time and money


@pytest.mark.parametrize("name", DEVICES)
def test_tensor_rates_follow_from_units_operations_and_clock(name):
    device = DEVICES[name]
    rate = device.rates.get("bf16") or device.rates["fp16"]
    assert 2 * device.units * device.fma * device.clock == pytest.approx(rate, rel=0.005)  # datasheets round to three digits
    assert device.source and device.date and device.memory >= 12e9 and device.bandwidth >= 3e11 and device.watts >= 70


def test_a_precision_that_a_card_lacks_is_refused():
    with pytest.raises(ValueError, match="T4 has no bf16 units: it has fp32, fp16. Use mixed-fp16 with loss scaling"):
        size("mlp-digits", 8, gpu="t4", precision="mixed-bf16")
    with pytest.raises(ValueError, match="A100 SXM 40 GB has no fp8 units"):
        size("mlp-digits", 8, gpu="a100-40", precision="fp8")
    assert find_device("h100").rate("fp8") == 2 * find_device("h100").rate("mixed-bf16") + 1e12


def test_a_step_is_bound_by_what_takes_longest():
    a100 = find_device("a100-40")
    assert step_time([("mm", 1e12, 1e6)], a100, "bf16").bound == "compute"
    assert step_time([("add", 0, 1e9)], a100, "bf16").bound == "bandwidth"
    many = step_time([("add", 0, 1e3)] * 100, a100, "bf16")
    assert many.bound == "overhead" and many.seconds.middle == pytest.approx(100 * 6e-6)
    assert many.ridge == pytest.approx(312e12 / 1555e9)


def test_a_run_costs_hours_times_price_and_energy_times_grid():
    run = run_cost(Range(1.0, 2.0, 3.0), 1800, "t4", devices=4, price_per_hour=0.5, utilisation=1, pue=1, grid=0.5)
    assert run.hours == (0.5, 1.0, 1.5) and run.device_hours.middle == 4 and run.cost.middle == 2
    assert run.kwh.middle == pytest.approx(0.28) and run.co2_kg.middle == pytest.approx(0.14)


def test_published_gpu_hours_give_the_published_utilisations():
    shares = [
        utilisation(n, d, hours, "h100")
        for n, d, hours in ((8e9, 15e12, 1.46e6), (70e9, 15e12, 7e6), (405e9, 15.6e12, 30.84e6))
    ]
    assert shares == pytest.approx([0.139, 0.253, 0.345], abs=0.003)
    assert utilisation(37e9, 14.8e12, 2.664e6, "h100") == pytest.approx(0.346, abs=0.001)  # DeepSeek-V3


def test_storage_counts_bytes_not_images():
    cifar = storage(
        examples=60_000, bytes_per_example=3072, archive=169_000_000, weights=10, optimizer=10, checkpoints=3, workers=2
    )
    assert (cifar.dataset_disk, cifar.dataset_ram, cifar.checkpoints_disk) == (353_320_000, 184_320_000, 60)
    assert cifar.process_ram == 1_100_000_000
    with pytest.raises(ValueError, match="unknown storage type 'int8'"):
        storage(examples=1, bytes_per_example=1, stored_as="int8")


# The verdict


def test_the_estimate_says_what_fits_where():
    assert size("resnet18-cifar", 128, gpu="t4", optimizer="momentum").verdict == "fits"
    assert size("gpt2", 16, gpu="t4").verdict == "does not fit"
    assert size("gpt2", 16, gpu="rtx3090").verdict == "tight"
    ranges = size("gpt2", 4, gpu="t4")
    assert ranges.tensor_peak <= ranges.reserved.low <= ranges.reserved.middle <= ranges.reserved.high < ranges.total.high
    assert ranges.limiting_phase == "backward" and len(ranges.assumptions) >= 8


def test_the_largest_batch_fits_and_the_next_one_does_not():
    most, t4 = largest_batch("gpt-char", gpu="t4"), find_device("t4").memory
    assert size("gpt-char", most).total.middle <= t4 < size("gpt-char", most + 1).total.middle
    assert largest_batch(lambda: mlp((40_000, 40_000, 10)), gpu="t4") == 0


def test_ways_to_fit_come_with_a_price_and_do_fit():
    small = find_device("a100-40")._replace(memory=3.5e9)
    ways = ways_to_fit("gpt-char", 64, gpu=small)
    assert all(way.estimate.verdict == "fits" for way in ways) and len(ways) >= 2
    same_card = [way.slowdown for way in ways if "larger card" not in way.words]
    assert same_card == sorted(same_card)
    assert any("accumulation" in way.words for way in ways) and "larger card" in ways[-1].words


def test_accumulation_needs_a_divisor_and_lowers_the_peak():
    whole, parts = (size("gpt-char", 64, accumulate=n) for n in (1, 4))
    assert parts.flops == whole.flops and parts.tensor_peak < 0.4 * whole.tensor_peak
    with pytest.raises(ValueError, match="batch=64 can't be divided into accumulate=3"):
        size("gpt-char", 64, accumulate=3)


def test_unknown_models_and_options_are_named():
    with pytest.raises(ValueError, match="unknown model 'gtp2'. Did you mean 'gpt2'"):
        size("gtp2", 1)
    with pytest.raises(ValueError, match="does not take {'attention': 'naive'}"):
        size("resnet18-cifar", 1, attention="naive")
    with pytest.raises(ValueError, match="attention='slow' is not known"):
        size("gpt2", 1, attention="slow")
    with pytest.raises(ValueError, match="there is no module 'nowhere'"):
        size("nowhere:model", 1)
    with pytest.raises(ValueError, match="has no function 'nothing'"):
        size("mlcourse.sizing.models_torch:nothing", 1)
    with pytest.raises(ValueError, match="returned int, not a Task"):
        size(lambda: 3, 1)
    with pytest.raises(ValueError, match="this task is in Flax"):
        size("mlp-digits-flax", 1)


def test_a_task_of_ones_own_is_traced():
    def loss(model, x):
        return model(x).square().mean()

    own = Task(lambda: torch.nn.Linear(3, 2), lambda batch: (torch.empty(batch, 3),), loss)
    assert size(own, 5, optimizer="sgd").parameters == 8


def test_the_command_prints_a_table_and_a_verdict(capsys, tmp_path, monkeypatch):
    assert main("--model mlp-digits --batch 32 --steps 100 --price 1".split()) == 0
    printed = capsys.readouterr().out
    for words in (
        "optimizer_step",
        "<- the peak",
        "verdict: batch 32 fits on T4",
        "the largest batch",
        "100 steps",
        "assumed:",
    ):
        assert words in printed
    assert main("--model mlp-digit --batch 32".split()) == 2
    assert "Did you mean 'mlp-digits'" in capsys.readouterr().err
    tmp_path.joinpath("my_model.py").write_text(
        "from mlcourse.sizing.models_torch import mlp\ndef build():\n    return mlp((3, 4, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main("--model my_model:build --batch 8 --gpu a100-40".split()) == 0


def test_measuring_without_a_card_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measure.main([]) == 1
    assert "there is no CUDA device here" in capsys.readouterr().err


def test_the_settings_to_be_measured_on_a_card_can_all_be_traced():
    assert len(measure.SETTINGS) >= 6
    for model, model_options, batch, options in measure.SETTINGS:
        assert trace_torch(find_task(model, **model_options), min(batch, 2), **options).peak > 0


def test_the_report_of_what_does_not_fit_says_so():
    assert "does not fit on T4 (16 GB)" in report(size("gpt2", 16, gpu="t4"))


def test_tracing_a_large_model_allocates_no_tensors():
    code = (
        "import resource; from mlcourse.sizing.trace_torch import trace_torch; from mlcourse.sizing import find_task\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "peak = trace_torch(find_task('gpt2'), 16).peak\n"
        "grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        "assert peak > 20e9 and grown < 4e8, (peak, grown)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
