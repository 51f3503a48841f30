"""Answers and halting values of a model that may stop early: how they add up, and when stopping is safe.

DACT: Eyzaguirre and Soto 2020, arXiv:2004.12770; DACT-BERT: Eyzaguirre et al. 2021, arXiv:2109.11745. A unit after
every trace point gives an answer y_n and a halting value h_n (near 1: go on). The answer accumulates as

    p_0 = 1,  p_n = p_{n-1} h_n          what later units may still change
    a_1 = y_1,  a_n = p_{n-1} y_n + (1 - p_{n-1}) a_{n-1}

The answers of all units but the first count for what p leaves them, so a_n is a mixture of y_1 ... y_n. With d units to
go and s = (1 - p_n)^d, every value of the last a lies in [s a_n + (1 - s) low, s a_n + (1 - s) high], whatever the
units to come say: that is what the rules stand on.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .heads import Answers

Rule = Literal["tight", "published"]
Ponder = Literal["p", "h"]
Shape = Literal["unit", "linear", "exp"]
PHASE = {"linear": 5.0, "exp": 7.0}
ALMOST_ALL = -1e-6  # the largest log p whose 1 - p is told from 0 in float32


class Range(NamedTuple):
    """Between which two values an answer lies."""

    low: float = 0.0
    high: float = 1.0


def values(logits: Tensor, kind: Answers, span: Range = Range()) -> Tensor:
    """y: logits [..., C] as probabilities (of one class, of each label), or as numbers in their range, in float32."""
    logits = logits.float()
    if kind in ("class", "tags"):
        return logits.softmax(dim=-1)
    return span.low + (span.high - span.low) * logits.sigmoid()


def logits_of(answer: Tensor, kind: Answers) -> Tensor:
    """a [..., C] in the form in which a head without halting answers: log probabilities, logits of labels, numbers."""
    if kind == "number":
        return answer
    tiny = torch.finfo(torch.float32).tiny
    logs = answer.clamp(min=tiny).log()
    return logs if kind in ("class", "tags") else logs - (1 - answer).clamp(min=tiny).log()


def accumulate(answer: Tensor, value: Tensor, p: Tensor) -> Tensor:
    """a_n from a_{n-1} and y_n [B, ...], and p_{n-1} [B]."""
    weight = p.view(-1, *[1] * (value.dim() - 1))
    return weight * value + (1 - weight) * answer


def mixture(logits: Sequence[Tensor], log_h: Tensor, kind: Answers, span: Range = Range()) -> Tensor:
    """a_N as `logits_of` would give it, from the logits [B, ..., C] of every unit and log h [B, N], in log space.

    Gradients stay finite where a probability or 1 - p is too small for float32.
    """
    log_p = log_h.float().cumsum(dim=1)
    if kind == "number":
        out = values(logits[0], kind, span)
        for n, one in enumerate(logits[1:]):
            out = accumulate(out, values(one, kind, span), log_p[:, n].exp())
        return out
    if kind == "labels":
        yes = _mixed([functional.logsigmoid(one.float()) for one in logits], log_p)
        return yes - _mixed([functional.logsigmoid(-one.float()) for one in logits], log_p)
    return _mixed([one.float().log_softmax(dim=-1) for one in logits], log_p)


def _mixed(logs: list[Tensor], log_p: Tensor) -> Tensor:
    """log a_N from log y_n [B, ...] and log p_n [B, N]."""
    out = logs[0]
    for n, one in enumerate(logs[1:]):
        weight = log_p[:, n].view(-1, *[1] * (one.dim() - 1))
        rest = torch.log(-torch.expm1(weight.clamp(max=ALMOST_ALL)))
        out = torch.logaddexp(weight + one, rest + out)
    return out


def ponder(h: Tensor, form: Ponder = "p", shape: Shape = "unit") -> Tensor:
    """rho [B], what running costs, given h [B, N]: the sum of p_n (published), or of h_n.

    shape: linear and exp, which the authors' code has too, add to each term what its running sum is above PHASE.
    """
    terms = h.cumprod(dim=1) if form == "p" else h
    if shape == "unit":
        return terms.sum(dim=1)
    above = terms.cumsum(dim=1) - PHASE[shape]
    return (terms + (above.clamp(min=0) if shape == "linear" else above.exp() + 1)).sum(dim=1)


def kept_share(p: Tensor, left: int, h_max: float = 1.0) -> Tensor:
    """s [B] in float64: what `left` units to come leave of a_n at least, given p_n [B] and their largest h."""
    p = p.double()
    if h_max == 1.0:
        return (1 - p).pow(left)
    powers = h_max ** torch.arange(left, dtype=torch.float64, device=p.device)
    return (1 - p.unsqueeze(-1) * powers).prod(dim=-1)


def class_is_safe(
    answer: Tensor, p: Tensor, left: int, *, rule: Rule = "tight", h_max: float = 1.0, margin: float = 1e-5
) -> Tensor:
    """Whether the largest of a_n [B, ..., C] stays the largest, for each [B, ...].

    published: top (1-p)^d >= runner-up + p d. tight: (top - runner-up) s > 1 - s, which no rule that looks at a_n, p_n
    and d alone can be safe and beat; `margin` is for rounding.
    """
    top, second = answer.double().topk(2, dim=-1).values.unbind(dim=-1)
    share = kept_share(p, left, h_max).view(-1, *[1] * (top.dim() - 1))
    if rule == "published":
        return top * share > second + p.double().view(share.shape) * left + margin
    return (top - second) * share > 1 - share + margin


def labels_are_safe(
    answer: Tensor, p: Tensor, left: int, thresholds: Tensor, *, h_max: float = 1.0, margin: float = 1e-5
) -> Tensor:
    """[B] whether every label of a_n [B, C] stays on its side of its threshold [C]."""
    low, high = bounds(answer, p, left, h_max=h_max)
    return ((low > thresholds + margin) | (high < thresholds - margin)).all(dim=-1)


def number_is_safe(p: Tensor, left: int, tolerance: float, span: Range, *, h_max: float = 1.0) -> Tensor:
    """[B] whether the middle of what the last a can be is within `tolerance` of it."""
    return (1 - kept_share(p, left, h_max)) * (span.high - span.low) <= 2 * tolerance


def bounds(answer: Tensor, p: Tensor, left: int, span: Range = Range(), *, h_max: float = 1.0) -> tuple[Tensor, Tensor]:
    """(least, most) that the last a can be, in float64, given a_n [B, ...], p_n [B] and the units left."""
    share = kept_share(p, left, h_max).view(-1, *[1] * (answer.dim() - 1))
    return share * answer + (1 - share) * span.low, share * answer + (1 - share) * span.high
