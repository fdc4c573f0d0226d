"""Rows to the scorers of their kind, and to no other."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import Rollouts
from guerdon.score.router import Router, Routes, hybrid_reward, route
from guerdon.score.verdict import Verdict
from guerdon.score.verify.choice import Choice
from guerdon.score.verify.stage import Verify
from guerdon.score.verify.word_overlap import ExactMatch
from tests import strategies

NAN = math.nan


def equal_numbers(left: Tensor, right: list[float]) -> bool:
    return bool(torch.allclose(left, torch.tensor(right, dtype=left.dtype), equal_nan=True))


def test_hybrid_example() -> None:
    verifiable = torch.tensor([True, True, False, False])
    rule, model = torch.tensor([1.0, 0.0, NAN, NAN]), torch.tensor([NAN, NAN, 0.8, 0.25])
    assert equal_numbers(hybrid_reward(verifiable, rule, model), [1.0, 0.0, 0.8, 0.25])
    lazy = route(verifiable, {True: rule.__getitem__, False: model.__getitem__})
    assert equal_numbers(lazy, [1.0, 0.0, 0.8, 0.25])
    with pytest.raises(ValueError, match="bool"):
        hybrid_reward(rule, rule, model)


@given(kinds=st.lists(st.sampled_from(["math", "code", "other", None]), max_size=12), default=st.booleans())
def test_each_scorer_sees_its_own_rows_once(kinds: list[str | None], default: bool) -> None:
    seen: dict[str, list[list[int]]] = {"math": [], "code": [], "default": []}

    def scorer(name: str, offset: float) -> Any:
        def score(rows: Tensor) -> Tensor:
            seen[name].append(rows.tolist())
            return rows.float() + offset

        return score

    scorers = {"math": scorer("math", 100.0), "code": scorer("code", 200.0)}
    result = route(kinds, scorers, scorer("default", 300.0) if default else None)
    offsets = {"math": 100.0, "code": 200.0}
    expected = [row + offsets.get(kind or "", 300.0 if default else NAN) for row, kind in enumerate(kinds)]
    assert equal_numbers(result, expected)
    for name, calls in seen.items():
        own = [row for row, kind in enumerate(kinds) if (kind if kind in offsets else "default") == name]
        assert calls == ([own] if own and (default or name != "default") else [])


def test_route_details() -> None:
    wide = route(["a", "b"], {"a": lambda rows: rows.double(), "b": lambda rows: rows.float()})
    assert wide.dtype == torch.float64
    assert route([], {"a": lambda rows: rows.float()}).shape == (0,)
    with pytest.raises(ValueError, match=r"'a' gave \(1,\) rewards: expected \(2,\)"):
        route(["a", "a"], {"a": lambda rows: torch.zeros(1)})
    weight = torch.ones(2, requires_grad=True)
    route(["a", "b"], {"a": lambda rows: weight[rows] * 3, "b": lambda rows: weight[rows]}).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [3.0, 1.0]


def batch(kinds: list[Any], **fields: Any) -> Rollouts:
    rows = len(kinds)
    columns = {"kind": kinds, "response": [f"r{row}" for row in range(rows)], "target": ["r1"] * rows}
    return Rollouts(
        group=torch.zeros(rows, dtype=torch.int64),
        mask=torch.ones(rows, 3, dtype=torch.bool),
        columns={**columns, **fields.pop("columns", {})},
        **fields,
    )


@dataclass(frozen=True)
class Marks:
    """Writes everything that a score stage may write, and counts its calls."""

    value: float
    steps: int = 2
    calls: list[int] = field(default_factory=list)
    reads: ClassVar[tuple[str, ...]] = ("response",)
    writes: ClassVar[tuple[str, ...]] = ("outcome", "process", "mark")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        self.calls.append(len(rollouts))
        rows = len(rollouts)
        return rollouts.replace(
            outcome=torch.full((rows,), self.value),
            process=torch.full((rows, self.steps), self.value),
            node=None,
            steps={"action": torch.full((rows, self.steps), int(self.value))},
            tokens={"weight": torch.full((rows, 3), self.value)},
        ).with_columns(mark=[self.value] * rows, mark_error=["e"] * rows)


def test_router_puts_everything_back() -> None:
    few, many, unused = Marks(1.0, 1), Marks(2.0, 3), Marks(9.0)
    router = Router({"few": few, "many": many, "unused": unused})
    scored = router(batch(["many", "few", "odd", "few"], outcome=torch.tensor([7.0, 7.0, 7.0, 7.0])))
    assert (few.calls, many.calls, unused.calls) == ([2], [1], [])
    assert equal_numbers(scored.outcome, [2.0, 1.0, NAN, 1.0])
    assert equal_numbers(scored.process[:, 0], [2.0, 1.0, NAN, 1.0])
    assert equal_numbers(scored.process[:, 2], [2.0, NAN, NAN, NAN])
    assert scored.steps["action"].tolist() == [[2, 2, 2], [1, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert equal_numbers(scored.tokens["weight"][:, 0], [2.0, 1.0, NAN, 1.0])
    assert scored.columns["mark"] == (2.0, 1.0, None, 1.0)
    assert scored.columns["mark_error"] == ("e", "e", "", "e")
    assert scored.columns["score_error"] == ("", "", "no scorer for kind 'odd'", "")
    assert router.writes == ("outcome", "process", "mark")
    assert router.reads == ("kind", "response")


def test_router_choices() -> None:
    rows = batch(["a", "b"], outcome=torch.tensor([5.0, 6.0]))
    assert Router({"a": Marks(1.0)}, unrouted="keep")(rows).outcome.tolist() == [1.0, 6.0]
    assert Router({"a": Marks(1.0)}, default=Marks(2.0))(rows).outcome.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="row 1: no scorer for kind 'b'"):
        Router({"a": Marks(1.0)}, unrouted="error")(rows)
    with pytest.raises(ValueError, match="unrouted"):
        Router({"a": Marks(1.0)}, unrouted="drop")
    with pytest.raises(ValueError, match="routes"):
        Router({})
    with pytest.raises(ValueError, match="returned 1 rows"):
        Router({"a": lambda part: part[:1]})(batch(["a", "a"]))
    assert len(Router({"a": Marks(1.0)})(batch([]))) == 0


def test_router_with_verifiers_keeps_reasons() -> None:
    def choosy(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        return Verdict(NAN, reason="cannot tell")

    router = Router({"text": Verify(ExactMatch()), "odd": Verify(choosy)})
    scored = router(batch(["text", "text", "odd", "none"]))
    assert equal_numbers(scored.outcome, [0.0, 1.0, NAN, NAN])
    assert scored.columns["score_error"] == ("", "", "cannot tell", "no scorer for kind 'none'")
    assert scored.columns["extracted"] == ("r0", "r1", None, None)


@given(rollouts=strategies.rollouts())
def test_routing_the_identity_changes_nothing(rollouts: Rollouts) -> None:
    kinds = [index % 3 for index in range(len(rollouts))]
    tagged = rollouts.with_columns(kind=kinds)
    router = Router({0: lambda part: part, 1: lambda part: part.replace(outcome=part.outcome.clone())}, unrouted="keep")
    assert router(tagged).equals(tagged)


def test_verifier_routes() -> None:
    routes = pickle.loads(pickle.dumps(Routes({"choice": Choice(timeout=9.0), "text": ExactMatch(aliases="aliases")})))
    assert routes("b", "B", {"kind": "choice"}).reward == 1.0
    assert routes("b", "c", {"kind": "text", "aliases": ["b"]}).reward == 1.0
    assert routes("b", "B", {"kind": "image"}).reason == "no verifier for kind 'image'"
    assert routes.timeout == 9.0
    assert routes.reads == ("kind", "aliases")
    assert "choice" in routes.version or "Choice" in routes.version
    assert Routes({"a": Choice()}, default=ExactMatch())("x", "x", {"kind": "?"}).reward == 1.0
    with pytest.raises(ValueError, match="no column 'kind'"):
        routes("b", "B", {})
    with pytest.raises(ValueError, match="routes"):
        Routes({})
