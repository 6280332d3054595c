"""Gradients into changed parameters: the optimizers of lesson 02 as `torch.optim.Optimizer`s.

Names of arguments and of the settings in a group are PyTorch's, so its learning-rate schedulers and parameter groups work.
A parameter without gradient is left alone, and its state with it. `weight_decay` is the L2 penalty in the gradient, as
everywhere in PyTorch but in `AdamW`.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from mlcourse.optimizer_settings import RULES, check

Tensors = list[torch.Tensor]


class CheckedOptimizer(torch.optim.Optimizer):
    """What the optimizers below share: settings checked when a group comes in, and the way to the gradients.

    A subclass writes `change(params, grads, states, group)`, which changes the parameters of one group in place.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> SGD([w], lr=-0.1)
    Traceback (most recent call last):
    ValueError: lr=-0.1 is not a step size: ...
    """

    def add_param_group(self, param_group: dict) -> None:
        super().add_param_group(param_group)
        check_group(self.param_groups[-1])

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        """One update. Returns what `closure` returns, which computes the loss and its gradients anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self.change(params, [p.grad for p in params], [self.state[p] for p in params], group)
        return loss

    def change(self, params: Tensors, grads: Tensors, states: list[dict], group: dict) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no `change`: write the update of one group there.")


def check_group(group: dict) -> None:
    """Refuses settings that are out of their range; names that only PyTorch knows are left to it."""
    settings = group | dict(zip(("beta1", "beta2"), group.get("betas", ()), strict=False))
    check(**{name: settings[name] for name in settings.keys() & RULES.keys()})
    if any(param.is_complex() for param in group["params"]):
        raise TypeError("a parameter is complex, and these optimizers square real gradients. Use those of `torch.optim`.")


def with_l2(grads: Tensors, params: Tensors, weight_decay: float) -> Tensors:
    """The gradients of the loss with the penalty (weight_decay / 2) |theta|^2; those of `params` stay as they are."""
    return torch._foreach_add(grads, params, alpha=weight_decay) if weight_decay else grads


class SGD(CheckedOptimizer):
    """Gradient descent: theta -= lr g. As `torch.optim.SGD(params, lr)`.

    Args:
        params: tensors, or groups as dicts, each with settings of its own.
        lr: at least 0.
        weight_decay: at least 0.

    Raises:
        ValueError: a setting out of its range.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([2.0])
    >>> SGD([w], lr=0.25).step()
    >>> w.tolist()
    [0.5]

    Built in lesson 02.
    """

    def __init__(self, params: Iterable, lr: float, *, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def change(self, params, grads, states, group):
        for param, grad in zip(params, with_l2(grads, params, group["weight_decay"]), strict=True):
            param.sub_(grad, alpha=group["lr"])


class Momentum(CheckedOptimizer):
    """Heavy-ball momentum: v = momentum v + g, theta -= lr v. As `torch.optim.SGD(params, lr, momentum)`.

    Args, Raises: as in `SGD`, and `momentum` in [0, 1).

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad, optimizer = torch.tensor([1.0]), Momentum([w], lr=0.25, momentum=0.5)
    >>> optimizer.step(), optimizer.step()  # by 0.25, and by 0.25 (0.5 + 1)
    (None, None)
    >>> w.tolist()
    [0.375]

    Built in lesson 02.
    """

    def __init__(self, params: Iterable, lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def change(self, params, grads, states, group):
        for param, grad, state in zip(params, with_l2(grads, params, group["weight_decay"]), states, strict=True):
            velocity = kept(state, "velocity", param).mul_(group["momentum"]).add_(grad)
            param.sub_(velocity, alpha=group["lr"])


class AverageMomentum(Momentum):
    """Momentum as an exponential average: v = momentum v + (1 - momentum) g, theta -= lr v.

    `torch.optim.SGD(dampening=momentum)` is the same from its second step on; it starts from v = g.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([1.0])
    >>> AverageMomentum([w], lr=0.5, momentum=0.5).step()
    >>> w.tolist()
    [0.75]

    Built in lesson 02.
    """

    def change(self, params, grads, states, group):
        for param, grad, state in zip(params, with_l2(grads, params, group["weight_decay"]), states, strict=True):
            velocity = kept(state, "velocity", param).mul_(group["momentum"]).add_(grad, alpha=1 - group["momentum"])
            param.sub_(velocity, alpha=group["lr"])


class Nesterov(Momentum):
    """Nesterov's momentum: v = momentum v + g, theta -= lr (g + momentum v). As `torch.optim.SGD(nesterov=True)`.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([1.0])
    >>> Nesterov([w], lr=0.5, momentum=0.5).step()
    >>> w.tolist()
    [0.25]

    Built in lesson 02.
    """

    def change(self, params, grads, states, group):
        for param, grad, state in zip(params, with_l2(grads, params, group["weight_decay"]), states, strict=True):
            velocity = kept(state, "velocity", param).mul_(group["momentum"]).add_(grad)
            param.sub_(grad.add(velocity, alpha=group["momentum"]), alpha=group["lr"])


class AdaGrad(CheckedOptimizer):
    """AdaGrad: s += g^2, theta -= lr g / (sqrt(s) + eps). As `torch.optim.Adagrad`.

    Args, Raises: as in `SGD`, and `initial`, where s starts, at least 0; `eps` above 0.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([100.0])
    >>> AdaGrad([w], lr=0.25).step()
    >>> w.tolist()
    [0.75]

    Built in lesson 02.
    """

    def __init__(self, params: Iterable, lr: float, *, initial: float = 0.0, eps: float = 1e-10, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "initial": initial, "eps": eps, "weight_decay": weight_decay})

    def change(self, params, grads, states, group):
        for param, grad, state in zip(params, with_l2(grads, params, group["weight_decay"]), states, strict=True):
            square = kept(state, "square", param, group["initial"]).addcmul_(grad, grad)
            param.addcdiv_(grad, square.sqrt().add_(group["eps"]), value=-group["lr"])


class RMSProp(CheckedOptimizer):
    """RMSProp: s = alpha s + (1 - alpha) g^2, theta -= lr g / (sqrt(s) + eps). As `torch.optim.RMSprop`.

    Args, Raises: as in `SGD`, and `alpha` in [0, 1), which the JAX twin calls beta; `eps` above 0.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([100.0])
    >>> RMSProp([w], lr=0.25, alpha=0.75).step()  # 0.25 / sqrt(1 - 0.75)
    >>> w.tolist()
    [0.5]

    Built in lesson 02.
    """

    def __init__(self, params: Iterable, lr: float, *, alpha: float = 0.9, eps: float = 1e-8, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay})

    def change(self, params, grads, states, group):
        for param, grad, state in zip(params, with_l2(grads, params, group["weight_decay"]), states, strict=True):
            square = kept(state, "square", param).mul_(group["alpha"]).addcmul_(grad, grad, value=1 - group["alpha"])
            param.addcdiv_(grad, square.sqrt().add_(group["eps"]), value=-group["lr"])


class Adam(CheckedOptimizer):
    """Adam; the equations stand in `mlcourse.optimizers.adam`. As `torch.optim.Adam`.

    Args:
        params: tensors, or groups as dicts.
        lr: at least 0.
        betas: what the averages of g and g^2 keep, each in [0, 1).
        eps: above 0, outside the root.
        weight_decay: the L2 penalty in the gradient, at least 0.
        foreach: use PyTorch's multi-tensor operations, one call for all parameters of a group, and keep the averages of
            squares as one vector. Faster with many small parameters and on a GPU; needs the memory of one more copy of
            the parameters.
        compiled: use the multi-tensor operations, compiled by `torch.compile` into one loop, which reads and writes each
            number once, as the loop of `torch.optim.Adam(fused=True)` does. The fastest on a CPU once the parameters are
            large; with small ones, finding the compiled loop costs more than it saves. Needs a C++ compiler (Triton on a
            GPU), and the first step of every set of shapes takes some seconds.

    Raises:
        ValueError: a setting out of its range.
        RuntimeError: in the first step, if `compiled` finds no compiler.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([1e4])
    >>> Adam([w], lr=0.25).step()  # the first step is lr
    >>> w.tolist()
    [0.75]

    Built in lesson 02.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool = False,
        compiled: bool = False,
    ):
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, numbers | {"foreach": foreach, "compiled": compiled})

    def change(self, params, grads, states, group):
        self.move(params, with_l2(grads, params, group["weight_decay"]), states, group)

    def move(self, params: Tensors, grads: Tensors, states: list[dict], group: dict) -> None:
        """Adam's update. A parameter that has no gradient at some steps counts its own steps."""
        for param, state in zip(params, states, strict=True):
            if not state:
                state.update(step=0, mean=torch.zeros_like(param), square=torch.zeros_like(param))
            state["step"] += 1
        if not (group["foreach"] or group["compiled"]):
            for param, grad, state in zip(params, grads, states, strict=True):
                adam_one(param, grad, state, group)
            return
        known = self.__dict__.setdefault("joined", {})  # not in __init__: a copied or unpickled optimizer has none
        for some, their_grads, their_states in alike(params, grads, states):
            if group["compiled"]:
                adam_compiled(some, their_grads, their_states, group)
            else:
                known[some[0]] = joined(their_states, known.get(some[0]))
                adam_many(some, their_grads, their_states, known[some[0]], group)


class AdamW(Adam):
    """Adam with decoupled weight decay: theta -= lr weight_decay theta, and then Adam's update. As `torch.optim.AdamW`.

    >>> w = torch.nn.Parameter(torch.tensor([2.0]))
    >>> w.grad = torch.tensor([0.0])
    >>> AdamW([w], lr=0.25, weight_decay=0.5).step()
    >>> w.tolist()
    [1.75]

    Built in lesson 02.
    """

    def __init__(self, params: Iterable, lr: float = 1e-3, *, weight_decay: float = 0.01, **others: Any):
        super().__init__(params, lr, weight_decay=weight_decay, **others)

    def change(self, params, grads, states, group):
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        self.move(params, grads, states, group)


# All three rules divide m_hat / (sqrt(s_hat) + eps) by the root of 1 - beta2^k above and below, which saves a pass over the
# parameters (Kingma and Ba 2015, end of section 2).


def adam_one(param: torch.Tensor, grad: torch.Tensor, state: dict, group: dict) -> None:
    (beta1, beta2), step = group["betas"], state["step"]
    mean = state["mean"].lerp_(grad, 1 - beta1)  # mean + (1 - beta1) (grad - mean)
    square = state["square"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    correction = (1 - beta2**step) ** 0.5
    root = square.sqrt().add_(group["eps"] * correction)
    param.addcdiv_(mean, root, value=-group["lr"] * correction / (1 - beta1**step))


def alike(params: Tensors, grads: Tensors, states: list[dict]) -> list[tuple[Tensors, Tensors, list[dict]]]:
    """The three lists in parts that one call can serve: of one number of steps, one type and one device each."""
    kinds = [(state["step"], param.dtype, param.device) for param, state in zip(params, states, strict=True)]
    if kinds.count(kinds[0]) == len(kinds):
        return [(params, grads, states)]
    parts = [[i for i, other in enumerate(kinds) if other == kind] for kind in set(kinds)]
    return [tuple([values[i] for i in part] for values in (params, grads, states)) for part in parts]


class Joined(NamedTuple):
    """The averages of squares of some parameters as one vector, and room for their roots; the parts are views of these."""

    squares: torch.Tensor  # (n,)
    roots: torch.Tensor  # (n,)
    square_parts: Tensors  # each like its parameter
    root_parts: Tensors


def adam_many(params: Tensors, grads: Tensors, states: list[dict], vectors: Joined, group: dict) -> None:
    (beta1, beta2), step = group["betas"], states[0]["step"]
    means = [state["mean"] for state in states]
    torch._foreach_lerp_(means, grads, 1 - beta1)
    # beta2 s + tiny, far below eps^2: Intel's root of an exact 0 takes ten times as long as another
    torch.add(torch.finfo(vectors.squares.dtype).tiny, vectors.squares, alpha=beta2, out=vectors.squares)
    torch._foreach_addcmul_(vectors.square_parts, grads, grads, 1 - beta2)
    correction = (1 - beta2**step) ** 0.5
    torch.sqrt(vectors.squares, out=vectors.roots).add_(group["eps"] * correction)
    torch._foreach_addcdiv_(params, means, vectors.root_parts, -group["lr"] * correction / (1 - beta1**step))


def joined(states: list[dict], known: Joined | None) -> Joined:
    """The `square` of all these states as parts of one vector; `known`, when they are that already."""
    if known is not None and len(known.square_parts) == len(states):
        if all(state["square"] is part for state, part in zip(states, known.square_parts, strict=True)):
            return known
    shapes = [state["square"] for state in states]
    squares = torch.cat([square.flatten() for square in shapes])
    vectors = squares, torch.empty_like(squares)
    sizes = [square.numel() for square in shapes]
    parts = [[part.view_as(like) for part, like in zip(v.split(sizes), shapes, strict=True)] for v in vectors]
    for state, part in zip(states, parts[0], strict=True):
        state["square"] = part
    return Joined(*vectors, *parts)


def adam_whole(
    params: Tensors, grads: Tensors, means: Tensors, squares: Tensors, beta1: float, beta2: float, rate: Any, epsilon: Any
) -> None:
    """The rule in multi-tensor operations, as one reads it. One after the other they go over the memory eight times."""
    torch._foreach_lerp_(means, grads, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
    roots = torch._foreach_add(torch._foreach_sqrt(squares), [epsilon] * len(params))
    steps = torch._foreach_mul(torch._foreach_div(means, roots), [rate] * len(params))
    torch._foreach_sub_(params, steps)


@functools.cache
def compiled_rule() -> Callable:
    """`adam_whole` in one loop. All optimizers share it; another set of shapes compiles another program."""
    return torch.compile(adam_whole, dynamic=False)


def adam_compiled(params: Tensors, grads: Tensors, states: list[dict], group: dict) -> None:
    (beta1, beta2), step = group["betas"], states[0]["step"]
    means, squares = ([state[name] for state in states] for name in ("mean", "square"))
    correction = (1 - beta2**step) ** 0.5
    # as tensors, for a number would be built into the program, which every step would then compile anew
    numbers = group["lr"] * correction / (1 - beta1**step), group["eps"] * correction
    rate, epsilon = (torch.as_tensor(number, dtype=params[0].dtype, device=params[0].device) for number in numbers)
    try:
        compiled_rule()(params, grads, means, squares, beta1, beta2, rate, epsilon)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        raise RuntimeError(
            f"compiled=True, but PyTorch could not compile the step: {error.inner_exception}. It needs a C++ compiler such as "
            "g++ or clang (on a GPU: Triton). Install one, or leave `compiled` False; `foreach=True` needs none."
        ) from error


def kept(state: dict, name: str, param: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """The tensor the optimizer keeps for this parameter under that name; the first time, filled with `value`."""
    if name not in state:
        state[name] = torch.full_like(param, value, memory_format=torch.preserve_format)
    return state[name]


def clip_by_global_norm(params: Iterable[torch.Tensor], max_norm: float) -> torch.Tensor:
    """Scales all gradients together, in place, so that their joint length is at most max_norm; returns the length before.

    Call it between `backward()` and `step()`. `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the length it divides by.

    Raises:
        ValueError: max_norm not above 0.

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> clip_by_global_norm([w], max_norm=0.5).item(), w.grad.tolist()
    (5.0, [0.30000001192092896, 0.4000000059604645])

    Built in lesson 02.
    """
    check(max_norm=max_norm)
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in grads]))
    torch._foreach_mul_(grads, max_norm / norm.clamp(min=max_norm))
    return norm
