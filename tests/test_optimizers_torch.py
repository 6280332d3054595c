"""The optimizers in PyTorch against torch.optim: the same weights after 100 steps on the same gradients."""

import copy
import io
import itertools
import shutil

import numpy as np
import optax
import pytest
import torch

from mlcourse import optimizers, optimizers_torch
from mlcourse.optimizers_torch import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AverageMomentum,
    Momentum,
    Nesterov,
    RMSProp,
    clip_by_global_norm,
)
from mlcourse.search.precision import float64

STEPS = 100
FAMILIES = {  # ours, torch.optim's, and every combination of these settings: name of ours -> name there -> values
    "SGD": (SGD, torch.optim.SGD, {("weight_decay", "weight_decay"): [0.0, 0.1]}),
    "Momentum": (
        Momentum,
        torch.optim.SGD,
        {("momentum", "momentum"): [0.0, 0.9], ("weight_decay", "weight_decay"): [0.0, 0.1]},
    ),
    "Nesterov": (
        Nesterov,
        lambda params, lr, **settings: torch.optim.SGD(params, lr, nesterov=True, **settings),
        {("momentum", "momentum"): [0.5, 0.9], ("weight_decay", "weight_decay"): [0.0, 0.1]},
    ),
    "AdaGrad": (
        AdaGrad,
        torch.optim.Adagrad,
        {("initial", "initial_accumulator_value"): [0.0, 0.1], ("eps", "eps"): [1e-10, 0.1], ("weight_decay",) * 2: [0.0, 0.1]},
    ),
    "RMSProp": (
        RMSProp,
        torch.optim.RMSprop,
        {("alpha", "alpha"): [0.0, 0.9, 0.99], ("eps", "eps"): [1e-8, 0.1], ("weight_decay", "weight_decay"): [0.0, 0.1]},
    ),
    "Adam": (
        Adam,
        torch.optim.Adam,
        {
            ("betas", "betas"): [(0.9, 0.999), (0.0, 0.95), (0.9, 0.0)],
            ("eps", "eps"): [1e-8, 0.1],
            ("weight_decay", "weight_decay"): [0.0, 0.1],
        },
    ),
    "AdamW": (
        AdamW,
        torch.optim.AdamW,
        {("betas", "betas"): [(0.9, 0.999), (0.0, 0.0)], ("eps",) * 2: [1e-8, 0.1], ("weight_decay",) * 2: [0.0, 0.1]},
    ),
}
FAMILIES["Adam, multi-tensor"] = (lambda *args, **kw: Adam(*args, foreach=True, **kw), *FAMILIES["Adam"][1:])
FAMILIES["AdamW, multi-tensor"] = (lambda *args, **kw: AdamW(*args, foreach=True, **kw), *FAMILIES["AdamW"][1:])
FAMILIES["Adam, compiled"] = (lambda *args, **kw: Adam(*args, compiled=True, **kw), *FAMILIES["Adam"][1:])
FAMILIES["AdamW, compiled"] = (lambda *args, **kw: AdamW(*args, compiled=True, **kw), *FAMILIES["AdamW"][1:])
MAKERS = {
    "SGD": lambda params: SGD(params, 0.01),
    "Momentum": lambda params: Momentum(params, 0.01),
    "AverageMomentum": lambda params: AverageMomentum(params, 0.01),
    "Nesterov": lambda params: Nesterov(params, 0.01),
    "AdaGrad": lambda params: AdaGrad(params, 0.1),
    "RMSProp": lambda params: RMSProp(params, 0.01),
    "Adam": lambda params: Adam(params, 0.01),
    "AdamW": lambda params: AdamW(params, 0.01),
    "Adam, multi-tensor": lambda params: Adam(params, 0.01, foreach=True),
    "Adam, compiled": lambda params: Adam(params, 0.01, compiled=True),
}


@pytest.fixture(autouse=True)
def rule_as_it_stands(request, monkeypatch):
    """Compiling takes seconds a setting, so all tests but one run the rule of `compiled=True` operation by operation."""
    if "really" not in request.node.name:
        monkeypatch.setattr(optimizers_torch, "compiled_rule", lambda: optimizers_torch.adam_whole)


def pairs(choices):
    """(settings of ours, settings of torch.optim's) for every combination."""
    for values in itertools.product(*choices.values()):
        yield tuple({names[side]: value for names, value in zip(choices, values, strict=True)} for side in (0, 1))


def parameters(seed=0):
    """A matrix, a vector, a scalar that gets its first gradient at step 30, and one that never gets any; float64."""
    rng = np.random.default_rng(seed)
    shapes = [(3, 2), (4,), (), (2,)]
    return [torch.nn.Parameter(torch.from_numpy(np.asarray(rng.normal(size=shape)))) for shape in shapes]


def gradients(seed=1):
    """Gradients over seven orders of magnitude, a tuple a step; `None` where a parameter has none."""
    rng = np.random.default_rng(seed)
    for step in range(STEPS):
        size = 10.0 ** rng.uniform(-5, 2) * (rng.random() > 0.1)
        full = [torch.from_numpy(np.asarray(size * rng.normal(size=shape))) for shape in [(3, 2), (4,), ()]]
        yield (*full[:2], full[2] if step >= 30 else None, None)


def run(optimizer, params, steps=slice(None)):
    for grads in list(gradients())[steps]:
        for param, grad in zip(params, grads, strict=True):
            param.grad = None if grad is None else grad.clone()
        optimizer.step()
    return [param.detach().clone() for param in params]


def close(ours, theirs, rtol=1e-6):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_weights_are_those_of_torch_optim_for_every_combination_of_settings(name):
    ours, theirs, choices = FAMILIES[name]
    for lr, (mine, torchs) in itertools.product([0.001, 0.1], pairs(choices)):
        params, twins = parameters(), parameters()
        after = run(ours(params, lr, **mine), params)
        close(after, run(theirs(twins, lr, **torchs), twins))
        assert torch.equal(after[3], parameters()[3]), "the one that never got a gradient, not even a decay"
        assert not torch.equal(after[2], parameters()[2])


@pytest.mark.parametrize("name", FAMILIES)
def test_groups_keep_settings_of_their_own_also_when_they_come_later(name):
    ours, theirs, choices = FAMILIES[name]
    first, last = list(pairs(choices))[0], list(pairs(choices))[-1]
    results = []
    for make, settings, others in zip((ours, theirs), first, last, strict=True):
        others = {key: value for key, value in others.items() if not key.startswith("initial")}  # PyTorch has one for all
        params = parameters()
        groups = [{"params": params[:1], "lr": 0.1}, {"params": params[1:2], **others}]
        optimizer = make(groups, 0.02, **settings)
        optimizer.add_param_group({"params": params[2:], "lr": 0.3, **others})
        results.append(run(optimizer, params))
    close(*results)


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_resumed_from_a_saved_state_is_bit_for_bit_the_run_that_never_stopped(name):
    params = parameters()
    whole = run(MAKERS[name](params), params)
    params = parameters()
    optimizer = MAKERS[name](params)
    middle = run(optimizer, params, slice(0, 50))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = [torch.nn.Parameter(value) for value in middle]
    fresh = MAKERS[name](resumed)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    for a, b in zip(run(fresh, resumed, slice(50, 100)), whole, strict=True):
        assert torch.equal(a, b)
    if name != "SGD":
        forgotten = [torch.nn.Parameter(value) for value in middle]
        assert not torch.equal(run(MAKERS[name](forgotten), forgotten, slice(50, 100))[0], whole[0]), "the state matters"


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++", "cl"))), reason="no C++ compiler on this machine")
def test_a_compiled_step_really_is_one_program_and_has_the_weights_of_torch_optim():
    compiles = torch._dynamo.utils.counters["stats"]
    before = compiles["unique_graphs"]
    params, twins = parameters()[:2], parameters()[:2]
    ours, theirs = AdamW(params, 0.1, eps=0.1, compiled=True), torch.optim.AdamW(twins, 0.1, eps=0.1)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=STEPS) for o in (ours, theirs)]
    for grads in gradients():
        for param, twin, grad in zip(params, twins, grads, strict=False):
            param.grad, twin.grad = grad, grad.clone()
        ours.step(), theirs.step()
        schedules[0].step(), schedules[1].step()
    close(params, twins)
    assert compiles["unique_graphs"] == before + 1, "no step was compiled anew, though the rate and the corrections changed"


def test_compiling_without_a_compiler_says_what_is_missing_and_what_does_without(monkeypatch):
    def broken(*_):
        raise torch._dynamo.exc.BackendCompilerFailed(broken, ValueError("no g++ anywhere"), None)

    monkeypatch.setattr(optimizers_torch, "compiled_rule", lambda: broken)
    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match=r"no g\+\+ anywhere\. It needs a C\+\+ compiler.*`foreach=True` needs none"):
        Adam([param], compiled=True).step()


TWINS = {  # ours in JAX, ours in PyTorch
    "sgd": (optimizers.sgd(0.01), lambda p: SGD(p, 0.01)),
    "momentum": (optimizers.momentum(0.01), lambda p: Momentum(p, 0.01)),
    "average_momentum": (optimizers.average_momentum(0.01, beta=0.8), lambda p: AverageMomentum(p, 0.01, momentum=0.8)),
    "nesterov": (optimizers.nesterov(0.01), lambda p: Nesterov(p, 0.01)),
    "adagrad": (optimizers.adagrad(0.1), lambda p: AdaGrad(p, 0.1)),
    "rmsprop": (optimizers.rmsprop(0.01), lambda p: RMSProp(p, 0.01)),
    "adam": (optimizers.adam(0.01), lambda p: Adam(p, 0.01)),
    "adamw": (optimizers.adamw(0.01), lambda p: AdamW(p, 0.01)),
    "adagrad, settings of its own": (
        optimizers.adagrad(0.1, initial=0.5, epsilon=0.1),  # in Optax epsilon stands inside the root, so no test against it
        lambda p: torch.optim.Adagrad(p, 0.1, initial_accumulator_value=0.5, eps=0.1),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_the_two_frameworks_are_one(name):
    in_jax, in_torch = TWINS[name]
    params = parameters()[:2]
    with float64():
        weights = [param.detach().numpy().copy() for param in params]
        state = in_jax.init(weights)
        optimizer = in_torch(params)
        for grads in gradients():
            updates, state = in_jax.update([g.numpy() for g in grads[:2]], state, weights)
            weights = optax.apply_updates(weights, updates)
            for param, grad in zip(params, grads, strict=False):
                param.grad = grad
            optimizer.step()
        for weight, param in zip(weights, params, strict=True):
            np.testing.assert_allclose(weight, param.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("momentum, weight_decay", [(0.0, 0.0), (0.0, 0.1), (0.8, 0.0), (0.8, 0.1)])
def test_the_exponential_average_is_heavy_ball_with_the_rate_divided(momentum, weight_decay):
    params, twins = parameters(), parameters()
    settings = {"momentum": momentum, "weight_decay": weight_decay}
    average = run(AverageMomentum(params, 0.05, **settings), params)
    close(average, run(torch.optim.SGD(twins, 0.05 * (1 - momentum), **settings), twins), rtol=1e-9)


@pytest.mark.parametrize("way", [{}, {"foreach": True}, {"compiled": True}], ids=["one by one", "foreach", "compiled"])
def test_gradients_may_come_and_go_and_the_optimizer_may_be_copied_on_the_way(way):
    params, twins = parameters(), parameters()
    params[1], twins[1] = (torch.nn.Parameter(p[1].detach().float()) for p in (params, twins))  # two types in one group
    ours, theirs = Adam(params, 0.01, **way), torch.optim.Adam(twins, 0.01, foreach=False)
    for step, grads in enumerate(list(gradients())[30:60]):
        for i, (param, twin, grad) in enumerate(zip(params, twins, grads, strict=True)):
            present = grad is not None and (i != 2 or step % 3)
            param.grad, twin.grad = (grad.to(param.dtype) if present else None for _ in range(2))
        ours.step(), theirs.step()
        if step == 20:
            params, ours = copy.deepcopy((params, ours))
    close([p.detach().double() for p in params], [p.detach().double() for p in twins], rtol=1e-5)  # float32 among them


def test_weights_and_state_may_have_any_memory_layout():
    for way in ({}, {"foreach": True}, {"compiled": True}):
        weights = torch.arange(24.0).reshape(2, 3, 2, 2)
        param = torch.nn.Parameter(weights.clone().to(memory_format=torch.channels_last))
        twin = torch.nn.Parameter(weights.clone())
        ours, theirs = Adam([param], 0.1, **way), torch.optim.Adam([twin], 0.1)
        for _ in range(3):
            param.grad = weights.transpose(2, 3).sin()  # not contiguous
            twin.grad = param.grad.clone()
            ours.step(), theirs.step()
        torch.testing.assert_close(param.data, twin.data)


def test_a_schedule_of_pytorch_drives_our_optimizer():
    ends = []
    for make in (Momentum, torch.optim.SGD):
        params = parameters()
        optimizer = make(params, lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
        for k in range(20):
            run(optimizer, params, slice(k, k + 1))
            scheduler.step()
        ends.append([param.detach() for param in params])
    close(*ends)


def test_a_closure_is_called_with_gradients_on_and_its_loss_returned():
    param = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = SGD([param], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (param**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0 and param.item() == 1.5


def test_clipping_is_that_of_pytorch_up_to_its_added_millionth():
    params, twins = parameters(), parameters()
    for max_norm in (0.1, 1e6):
        for param, twin, grad in zip(params, twins, list(gradients())[40], strict=True):
            param.grad, twin.grad = (None if grad is None else grad.clone() for _ in range(2))
        norm = clip_by_global_norm(params, max_norm)
        theirs = torch.nn.utils.clip_grad_norm_(twins, max_norm)
        torch.testing.assert_close(norm, theirs, rtol=1e-12, atol=0)
        assert (norm > max_norm) == (max_norm == 0.1), "one is clipped, one is not"
        close([p.grad for p in params[:3]], [p.grad for p in twins[:3]], rtol=1e-5)
    assert clip_by_global_norm([torch.nn.Parameter(torch.ones(2))], 1.0) == 0, "no gradient, no length"
    with pytest.raises(ValueError, match="max_norm=0 is not above 0"):
        clip_by_global_norm(params, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, -0.1), r"lr=-0.1 is not a step size.*Pass a finite number of at least 0"),
        (lambda p: SGD(p, 0.1, weight_decay=-1.0), "weight_decay=-1.0 is not a strength"),
        (lambda p: Momentum(p, 0.1, momentum=1.0), r"momentum=1.0 is not in \[0, 1\)"),
        (lambda p: AverageMomentum(p, 0.1, momentum=-0.5), r"momentum=-0.5 is not in \[0, 1\)"),
        (lambda p: Nesterov(p, float("nan")), "lr=nan is not a step size"),
        (lambda p: AdaGrad(p, 0.1, initial=-1.0), "initial=-1.0 is not a strength"),
        (lambda p: AdaGrad(p, 0.1, eps=0.0), "eps=0.0 is not above 0.*1e-8"),
        (lambda p: RMSProp(p, 0.1, alpha=1.0), r"alpha=1.0 is not in \[0, 1\)"),
        (lambda p: RMSProp(p, 0.1, eps=-1e-8), "eps=-1e-08 is not above 0"),
        (lambda p: Adam(p, betas=(1.0, 0.9)), r"beta1=1.0 is not in \[0, 1\)"),
        (lambda p: Adam(p, betas=(0.9, -0.1)), r"beta2=-0.1 is not in \[0, 1\)"),
        (lambda p: Adam(p, eps=0.0), "eps=0.0 is not above 0"),
        (lambda p: AdamW(p, weight_decay=-0.01), "weight_decay=-0.01 is not a strength"),
        (lambda p: Adam([{"params": p, "lr": -1.0}]), "lr=-1.0 is not a step size"),
        (lambda p: Adam(p).add_param_group({"params": parameters(), "eps": 0.0}), "eps=0.0 is not above 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_in_every_group(make, message):
    with pytest.raises(ValueError, match=message):
        make(parameters())


def test_complex_parameters_are_refused_and_an_optimizer_without_a_rule_says_so():
    with pytest.raises(TypeError, match="a parameter is complex.*Use those of `torch.optim`"):
        Adam([torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))])
    params = parameters()
    nothing = optimizers_torch.CheckedOptimizer(params, {"lr": 0.1})
    params[0].grad = torch.zeros_like(params[0])
    with pytest.raises(NotImplementedError, match="CheckedOptimizer has no `change`: write the update of one group there"):
        nothing.step()
