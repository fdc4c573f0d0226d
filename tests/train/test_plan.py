from __future__ import annotations

import json
import math

import pytest

from guerdon.train.plan import Phase, Plan, Workspace, training


def counting(log, name, metrics=None, fail_first=False):
    def run(workspace: Workspace):
        log.append(name)
        workspace.path("left.txt").write_text(f"{name} {log.count(name)}")
        if fail_first and log.count(name) == 1:
            raise RuntimeError("interrupted")
        return metrics

    return run


def test_phases_run_in_order_and_once(tmp_path):
    log = []
    plan = Plan("p", (Phase("a", counting(log, "a", {"x": 1.0})), Phase("b", counting(log, "b"))))
    assert plan.run(tmp_path, quiet=True) == {"a": {"x": 1.0}, "b": {}}
    assert plan.run(tmp_path, quiet=True) == {"a": {"x": 1.0}, "b": {}}
    assert log == ["a", "b"]
    assert (tmp_path / "01-a" / "left.txt").read_text() == "a 1"


def test_an_interrupted_plan_goes_on_in_the_phase_that_was_left(tmp_path):
    log = []
    plan = Plan("p", (Phase("a", counting(log, "a")), Phase("b", counting(log, "b", fail_first=True))))
    with pytest.raises(RuntimeError, match="interrupted"):
        plan.run(tmp_path, quiet=True)
    # What the attempt left is still there when the phase is entered again.
    assert (tmp_path / "02-b" / "left.txt").is_file()
    plan.run(tmp_path, quiet=True)
    assert log == ["a", "b", "b"]


def test_later_phases_read_what_earlier_ones_left_and_measured(tmp_path):
    seen = {}

    def reading(workspace: Workspace):
        seen["text"] = workspace.artefact("a", "left.txt").read_text()
        seen["metrics"] = workspace.results["a"]
        with pytest.raises(FileNotFoundError, match=r"left no 'model'.*it left left.txt"):
            workspace.artefact("a", "model")
        with pytest.raises(ValueError, match="no phase 'c' before"):
            workspace.artefact("c", "model")

    Plan("p", (Phase("a", counting([], "a", {"x": 2.0})), Phase("b", reading))).run(tmp_path, quiet=True)
    assert seen == {"text": "a 1", "metrics": {"x": 2.0}}


def test_changed_settings_are_refused_by_name_until_a_restart(tmp_path):
    log = []

    def plan(rate):
        return Plan("p", (Phase("a", counting(log, "a"), {"rate": rate}), Phase("b", counting(log, "b"))))

    plan(0.1).run(tmp_path, quiet=True)
    with pytest.raises(ValueError, match=r"'a'.*rate was 0.1, is 0.2"):
        plan(0.2).run(tmp_path, quiet=True)
    plan(0.2).run(tmp_path, restart_from="a", quiet=True)
    assert log == ["a", "b", "a", "b"]
    # Only the first phase changed, and the second one depends on it.
    (tmp_path / "01-a" / "phase.json").unlink()
    with pytest.raises(ValueError, match="a phase before it had other settings"):
        plan(0.3).run(tmp_path, quiet=True)
    with pytest.raises(ValueError, match="no phase 'z'"):
        plan(0.3).run(tmp_path, restart_from="z", quiet=True)


def test_metrics_that_are_not_numbers_come_back_as_such(tmp_path):
    plan = Plan("p", (Phase("a", counting([], "a", {"x": math.nan})),))
    plan.run(tmp_path, quiet=True)
    assert math.isnan(plan.run(tmp_path, quiet=True)["a"]["x"])
    assert json.loads((tmp_path / "01-a" / "phase.json").read_text())["metrics"] == {"x": None}


def test_a_plan_says_what_it_does(tmp_path, capsys):
    plan = Plan("p", (Phase("a", counting([], "a"), {"rate": 0.1}),))
    assert str(plan) == "plan p\n  1. a (rate=0.1)"
    plan.run(tmp_path)
    plan.run(tmp_path)
    assert capsys.readouterr().err == "p: a ...\np: a was done before\n"


def test_names_must_be_unique_and_fit_for_folders():
    with pytest.raises(ValueError, match=r"\['a'\] twice"):
        Plan("p", (Phase("a", counting([], "a")), Phase("a", counting([], "a"))))
    with pytest.raises(ValueError, match="no phase"):
        Plan("p", ())
    with pytest.raises(ValueError, match="letters"):
        Phase("../a", counting([], "a"))


def test_a_trainer_is_a_phase_that_goes_on_from_its_checkpoint(tmp_path):
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x=None, labels=None):
            return {"loss": ((self.weight * x[:, 0] - labels) ** 2).mean()}

    class Interrupt(TrainerCallback):
        def on_step_begin(self, arguments, state, control, **other):
            if state.global_step == 3:
                raise KeyboardInterrupt

    data = [{"x": torch.tensor([float(i)]), "labels": torch.tensor(2.0 * i)} for i in range(1, 9)]
    started = []

    def make(interrupt):
        def build(workspace):
            arguments = TrainingArguments(
                str(workspace.path("checkpoints")), max_steps=6, save_steps=2, learning_rate=0.1, report_to=[],
                per_device_train_batch_size=2, use_cpu=True, disable_tqdm=True, seed=0,
            )  # fmt: skip
            model = Line()
            trainer = Trainer(model, arguments, train_dataset=data, callbacks=[Interrupt()] if interrupt else None)
            started.append(trainer)
            return trainer

        return build

    def plan(interrupt):
        return Plan("p", (training("fit", make(interrupt)),))

    with pytest.raises(KeyboardInterrupt):
        plan(True).run(tmp_path / "broken", quiet=True)
    resumed = plan(False).run(tmp_path / "broken", quiet=True)["fit"]
    plan(False).run(tmp_path / "whole", quiet=True)
    assert started[1].state.global_step == started[2].state.global_step == 6
    assert torch.equal(started[1].model.weight, started[2].model.weight)
    assert (tmp_path / "broken" / "01-fit" / "model").is_dir()
    assert "train_loss" in resumed
