from __future__ import annotations

import itertools

import pytest
import torch

from guerdon.tasks.trees import Trees

LAB = Trees.drawn(0, questions=3, actions=2, depth=3, share=0.4)


def test_values_are_sums_over_paths():
    law = torch.softmax(LAB.initial, -1)
    values = LAB.values(LAB.initial)
    for question in range(3):
        total = 0.0
        for leaf, path in enumerate(itertools.product(range(2), repeat=3)):
            chance, node = 1.0, 0
            for action in path:
                chance *= float(law[question * LAB.nodes + node, action])
                node = node * 2 + 1 + action
            assert node - LAB.nodes == leaf
            total += chance * float(LAB.right[question, leaf])
        assert float(values[question, 0]) == pytest.approx(total, abs=1e-12)
    assert float(LAB.expected(LAB.initial)["gold"]) == pytest.approx(float(values[:, 0].mean()))


def test_samples_are_paths_whose_share_of_right_leaves_is_the_value():
    rollouts = LAB.sample(LAB.initial, 3, 4000, torch.Generator().manual_seed(1))
    assert rollouts.mask.all()
    state, action = rollouts.tokens["state"], rollouts.tokens["action"]
    assert torch.equal(state[:, 1:] % LAB.nodes, (state[:, :-1] % LAB.nodes) * 2 + 1 + action[:, :-1])
    assert torch.equal(state[:, 0], rollouts.group)
    values = LAB.values(LAB.initial)[:, 0]
    for question in range(3):
        mine = rollouts.outcome[rollouts.group == question * LAB.nodes]
        assert float(mine.mean()) == pytest.approx(float(values[question]), abs=0.03)


def test_completions_start_where_they_are_told_to():
    start = torch.tensor([0, 1, 4, 7 + 2]).repeat_interleave(3000)
    rollouts = LAB.complete(LAB.initial, start, torch.Generator().manual_seed(2))
    assert torch.equal(rollouts.group, start)
    assert rollouts.mask.sum(1)[::3000].tolist() == [3, 2, 1, 2]
    values = LAB.values(LAB.initial)
    for question, node in ((0, 0), (0, 1), (0, 4), (1, 2)):
        mine = rollouts.outcome[start == question * 7 + node]
        assert float(mine.mean()) == pytest.approx(float(values[question, node]), abs=0.04)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="actions=1"):
        Trees.drawn(0, actions=1)
    with pytest.raises(ValueError, match="share=2"):
        Trees.drawn(0, share=2.0)
