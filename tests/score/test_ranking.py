"""Set F1, ranks of set-valued answers, reciprocal rank and NDCG."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.ranking import (
    LinkRanks,
    Ranking,
    SetF1,
    mrr,
    ndcg,
    parse_answer,
    parse_ranking,
    reciprocal_rank,
    reciprocal_ranks,
    set_f1_reward,
)

nodes = st.integers(0, 11)
EXAMPLES = [
    ({5}, 2 / 3, 0.51, 0.51),
    ({5, 6, 7}, 0.4, 0.259804, 0.176471),
    ({6}, 0.0, 0.019802, 0.019802),
    ({5, 9, 6}, 0.8, 0.666667, 0.5),
    (None, 0.0, 0.02, 0.02),
]


@pytest.mark.parametrize(("pred", "f1", "plain", "penalised"), EXAMPLES)
def test_examples(pred: set[int] | None, f1: float, plain: float, penalised: float) -> None:
    assert set_f1_reward(pred, {5, 9}) == pytest.approx(f1, abs=1e-6)
    assert mrr([(pred, [5, 9], 100)]) == pytest.approx(plain, abs=1e-6)
    assert mrr([(pred, [5, 9], 100)], 1.1) == pytest.approx(penalised, abs=1e-6)


def slow_ranks(pred: set[int], truth: list[int], n: int, wrong_score: float) -> list[float]:
    score = dict.fromkeys(range(n), 0.0)
    for v in pred & set(range(n)):
        score[v] = 1.0 if v in truth else wrong_score
    result = []
    for y in truth:
        others = [v for v in range(n) if v not in truth]
        more = sum(score[v] > score[y] for v in others)
        as_much = sum(score[v] >= score[y] for v in others)
        result.append(1 / (1 + (more + as_much) / 2))
    return result


@given(
    pred=st.sets(st.integers(0, 15)),
    truth=st.lists(nodes, min_size=1, max_size=6, unique=True),
    wrong_score=st.sampled_from([0.5, 1.0, 1.1, 7.0]),
)
def test_ranks_equal_the_definition(pred: set[int], truth: list[int], wrong_score: float) -> None:
    ours = reciprocal_ranks(pred, truth, 12, wrong_score)
    np.testing.assert_allclose(ours, slow_ranks(pred, truth, 12, wrong_score))
    np.testing.assert_allclose(ours, reciprocal_ranks(list(pred) * 2, truth, set(range(12)), wrong_score))
    assert (reciprocal_ranks(pred, truth, 12, 1.1) <= reciprocal_ranks(pred, truth, 12) + 1e-12).all()


@given(pred=st.sets(nodes), truth=st.sets(nodes, min_size=1), more=nodes)
def test_set_f1_invariants(pred: set[int], truth: set[int], more: int) -> None:
    before, after = set_f1_reward(pred, truth), set_f1_reward(pred | {more}, truth)
    assert (before == 1.0) == (pred == truth)
    if more not in pred:
        assert after > before if more in truth else after < before or before == 0.0


def test_predicting_everything() -> None:
    assert reciprocal_ranks(range(100), [1, 2], 100)[0] == pytest.approx(1 / (1 + 98 / 2))
    assert reciprocal_ranks(range(100), [1, 2], 100, 1.1)[0] == pytest.approx(1 / (1 + 98))


def test_averages() -> None:
    queries = [({1}, [1], 10), (set(), [1, 2, 3], 10)]
    per_query = [reciprocal_ranks(*query) for query in queries]
    assert mrr(queries) == pytest.approx(np.mean([row.mean() for row in per_query]))
    assert mrr(queries, average="link") == pytest.approx(np.concatenate(per_query).mean())
    assert math.isnan(mrr([]))
    for wrong in ({"average": "row"}, {"wrong_score": 0.0}):
        with pytest.raises(ValueError):
            mrr(queries, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="truth"):
        reciprocal_ranks({1}, [], 10)
    with pytest.raises(ValueError, match="truth has 12"):
        reciprocal_ranks({1}, [12], 10)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("<think>9</think><answer>5, 7</answer>", {5, 7}),
        ("<answer>1</answer><answer>[2; 2, x]</answer>", {2}),
        ("<answer>none</answer>", None),
        ("5, 7", None),
        ("<answer>5", None),
        ("<answer>٣, 4</answer>", {4}),
    ],
)
def test_parse_answer(text: str, ids: set[int] | None) -> None:
    assert parse_answer(text) == ids


@given(
    ranking=st.lists(st.integers(0, 7), max_size=10),
    grades=st.dictionaries(st.integers(0, 7), st.integers(0, 3), min_size=1).filter(lambda d: any(d.values())),
    cutoff=st.none() | st.integers(1, 6),
    gain=st.sampled_from(["linear", "exponential"]),
)
def test_ndcg_and_reciprocal_rank_equal_slow_loops(
    ranking: list[int], grades: dict[int, int], cutoff: int | None, gain: str
) -> None:
    order: list[int] = []
    for item in ranking:
        if item not in order:
            order.append(item)
    order = order[: cutoff or 99]
    worth = {item: grade if gain == "linear" else 2**grade - 1 for item, grade in grades.items()}
    got = sum(worth.get(item, 0) / math.log2(place + 2) for place, item in enumerate(order))
    best = sum(w / math.log2(place + 2) for place, w in enumerate(sorted(worth.values())[::-1][: cutoff or 99]))
    assert ndcg(ranking, grades, cutoff, gain) == pytest.approx(got / best)
    relevant = {item for item, grade in grades.items() if grade}
    first = next((1 / (place + 1) for place, item in enumerate(order) if item in relevant), 0.0)
    assert reciprocal_rank(ranking, relevant, cutoff) == first
    assert ndcg(sorted(grades, key=lambda item: -grades[item]), grades, cutoff, gain) == pytest.approx(1.0)


def test_refusals() -> None:
    for call in (
        lambda: ndcg(["a"], {}),
        lambda: ndcg(["a"], {"a": 0.0}),
        lambda: ndcg(["a"], {"a": -1.0}),
        lambda: ndcg(["a"], {"a"}, 0),
        lambda: ndcg(["a"], {"a"}, gain="square"),
        lambda: reciprocal_rank(["a"], set()),
        lambda: set_f1_reward({1}, set()),
        lambda: Ranking(metric="map"),
        lambda: Ranking(penalty=-1.0),
        lambda: Ranking(relevance="r"),
    ):
        with pytest.raises(ValueError):
            call()


def test_parse_ranking() -> None:
    assert parse_ranking("1. Paris\n2) Rome\n\n- Oslo") == ["Paris", "Rome", "Oslo"]
    assert parse_ranking("a, b ; c") == ["a", "b", "c"]
    assert parse_ranking("2001, 1984") == ["2001", "1984"]


def test_verifiers() -> None:
    f1 = pickle.loads(pickle.dumps(SetF1()))
    assert f1("<answer>rome, Paris, Rome</answer>", "Paris, Rome", {}).reward == 1.0
    assert f1("Paris", "Paris", {}).reason == "there is no answer"
    assert f1("<answer>7, 8</answer>", [7, 9], {}).reward == 0.5  # type: ignore[arg-type]
    assert math.isnan(f1("<answer>7</answer>", "", {}).reward)
    rank = Ranking(penalty=0.1)
    assert rank("<answer>1. Oslo\n2. Rome</answer>", "Rome", {}).reward == pytest.approx(0.4)
    assert rank("<answer>" + ", ".join("abcdefghijk") + "</answer>", "k", {}).reward == 0.0
    graded = Ranking("ndcg", relevance="grades")
    assert graded("<answer>a, b</answer>", "", {"grades": {"A": 2, "b": 1}}).reward == pytest.approx(1.0)
    assert math.isnan(graded("<answer>a</answer>", "", {"grades": {"a": 0}}).reward)
    links = LinkRanks(nodes=100)
    assert links("<answer>5, 6, 7</answer>", "5, 9", {}).reward == pytest.approx(0.176471, abs=1e-6)
    assert links("nothing", "5, 9", {}).reward == pytest.approx(0.02)
