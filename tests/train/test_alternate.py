from __future__ import annotations

import threading

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from guerdon.train.alternate import Alternate, turns


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x=None, labels=None):
        return {"loss": ((self.weight * x[:, 0] - labels) ** 2).mean()}


class Log(TrainerCallback):
    def __init__(self, name, log, fail_at=None):
        self.name, self.log, self.fail_at = name, log, fail_at

    def on_train_begin(self, args, state, control, **other):
        self.log.append(f"{self.name} starts")

    def on_step_begin(self, args, state, control, **other):
        # The callback of the turns was added later, and waits later.
        pass

    def on_step_end(self, args, state, control, **other):
        self.log.append(self.name)
        if state.global_step == self.fail_at:
            raise RuntimeError(f"{self.name} broke")

    def on_train_end(self, args, state, control, **other):
        self.log.append(f"{self.name} ends")


def trainer(folder, name, log, slope, fail_at=None, steps=1):
    data = [{"x": torch.tensor([float(i)]), "labels": torch.tensor(slope * i)} for i in range(1, 9)]
    arguments = TrainingArguments(
        str(folder / name), max_steps=steps, learning_rate=0.1, report_to=[], per_device_train_batch_size=2,
        use_cpu=True, disable_tqdm=True, seed=3, save_strategy="no",
    )  # fmt: skip
    return Trainer(Line(), arguments, train_dataset=data, callbacks=[Log(name, log, fail_at)])


def test_turns_are_checked():
    assert turns("a", "b", 3, 1, 2) == ["a", "b", "b", "a", "b", "b", "a"]
    assert turns("a", "b", 0, lead=2) == ["b", "b"]
    with pytest.raises(ValueError, match="at once 0"):
        turns("a", "b", 3, first_at_once=0)


def test_trainers_make_their_steps_in_the_order_of_their_turns(tmp_path):
    log = []
    pair = {"a": trainer(tmp_path, "a", log, 2.0), "b": trainer(tmp_path, "b", log, -1.0)}
    order = turns("a", "b", 5, 2, 1, lead=2)
    results = Alternate(pair, order).train()
    assert [entry for entry in log if " " not in entry] == order
    # A trainer is set up in its own first turn, and ended in its last.
    assert log[0] == "b starts"
    assert log.index("a starts") == 3
    assert results["a"].global_step == 5
    assert results["b"].global_step == order.count("b")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("train-")]


def test_each_trainer_learns_what_it_would_alone(tmp_path):
    order = turns("a", "b", 6, 2, 1, lead=1)
    pair = {"a": trainer(tmp_path, "a", [], 2.0), "b": trainer(tmp_path, "b", [], -1.0)}
    Alternate(pair, order).train()
    for name, slope in (("a", 2.0), ("b", -1.0)):
        alone = trainer(tmp_path, "alone", [], slope, steps=order.count(name))
        alone.train()
        assert torch.equal(alone.model.weight, pair[name].model.weight)


def test_a_failure_stops_all_of_them_and_is_raised(tmp_path):
    log = []
    pair = {"a": trainer(tmp_path, "a", log, 2.0, fail_at=2), "b": trainer(tmp_path, "b", log, -1.0)}
    with pytest.raises(RuntimeError, match="a broke"):
        Alternate(pair, turns("a", "b", 6, 1, 1)).train()
    assert [entry for entry in log if " " not in entry] == ["a", "b", "a"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("train-")]


def test_every_trainer_needs_a_turn(tmp_path):
    pair = {"a": trainer(tmp_path, "a", [], 2.0), "b": trainer(tmp_path, "b", [], -1.0)}
    with pytest.raises(ValueError, match="order names 'c'"):
        Alternate(pair, ["a", "c"])
    with pytest.raises(ValueError, match="no turn of 'b'"):
        Alternate(pair, ["a"])
