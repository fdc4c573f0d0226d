"""Writes the measured parts of docs/how-to/math-answers.md: agreement with labels, differences from math-verify.

Run from the root of the repository, with the data at GUERDON_DATA or ../shared/data: python -m tools.agreement
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon.bench.verify import data_folder
from guerdon.score.verify.answers import answers_match
from guerdon.score.verify.fast_path import decide
from guerdon.score.verify.guard import refusal
from guerdon.score.verify.math import MathAnswer
from tools.generated import ROOT, table, write

PAGE = ROOT / "docs" / "how-to" / "math-answers.md"
_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


@dataclass(frozen=True)
class Case:
    """A response with its reference answer and what is known of it."""

    response: str
    gold: str
    right: bool


def gsm8k(data: Path) -> list[Case]:
    """Solutions of four models, with their labels."""
    cases = []
    for problem in _lines(data / "gsm8k" / "example_model_solutions.jsonl"):
        gold = problem["ground_truth"].rsplit("A:", 1)[-1].strip()
        cases += [Case(problem[name]["solution"], gold, problem[name]["is_correct"]) for name in _MODELS]
    return cases


def math_responses(data: Path) -> list[Case]:
    """Eight responses to each of 100 problems of MATH, with their labels."""
    return [
        Case(response, str(problem["gt"]), bool(score))
        for problem in _lines(data / "math_cot_100" / "math_cot_100.jsonl")
        for response, score in zip(problem["code"], problem["score"], strict=True)
    ]


def solutions(data: Path) -> list[Case]:
    """The written solutions of MATH-500, AIME 2024 and the training problems of GSM8K: all of them right."""
    cases = [Case(row["solution"], str(row["answer"]), True) for row in _lines(data / "math500" / "test.jsonl")]
    cases += [Case(row["solution"], str(row["answer"]), True) for row in _lines(data / "aime24" / "test.jsonl")]
    train = _lines(data / "gsm8k" / "train.jsonl")
    return cases + [Case(row["answer"], row["answer"].rsplit("####", 1)[-1].strip(), True) for row in train]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


# --- the verifiers ----------------------------------------------------------------------------------------------


def guerdon_rewards(cases: list[Case]) -> list[float]:
    """`MathAnswer` with its defaults."""
    verifier = MathAnswer()
    return [verifier(case.response, case.gold, {}).reward for case in cases]


def math_verify_rewards(cases: list[Case]) -> list[float]:
    """`math-verify`, called as its documentation shows."""
    import math_verify

    return [
        float(math_verify.verify(math_verify.parse(f"${case.gold}$"), math_verify.parse(case.response)))
        for case in cases
    ]


def trl_rewards(cases: list[Case]) -> list[float]:
    """TRL's `accuracy_reward`; None = skipped, shown as undecided."""
    from trl.rewards import accuracy_reward

    messages = [[{"role": "assistant", "content": case.response}] for case in cases]
    found = accuracy_reward(messages, [f"${case.gold}$" for case in cases])
    return [math.nan if reward is None else float(reward) for reward in found]


VERIFIERS: dict[str, Callable[[list[Case]], list[float]]] = {
    "guerdon `MathAnswer`": guerdon_rewards,
    "math-verify": math_verify_rewards,
    "TRL `accuracy_reward`": trl_rewards,
}


def agreement(cases: list[Case], rewards: list[float]) -> Counter[str]:
    """How often rewards and labels agree, and how they do not.

    Args:
        cases: The cases.
        rewards: A reward of each.
    """
    counts: Counter[str] = Counter()
    for case, reward in zip(cases, rewards, strict=True):
        if reward != reward:
            counts["undecided"] += 1
        elif bool(reward) == case.right:
            counts["agree"] += 1
        else:
            counts["wrongly 0" if case.right else "wrongly 1"] += 1
    return counts


def tables(data: Path) -> str:
    """The agreement of all verifiers on all sets, and what ours disagrees about."""
    sets = {
        "GSM8K, 879 problems x 4 models": gsm8k(data),
        "MATH, 100 problems x 8 responses": math_responses(data),
        "Written solutions of MATH-500, AIME 2024, GSM8K (train)": solutions(data),
    }
    lines, disagreements = [], []
    for name, cases in sets.items():
        for verifier, score in VERIFIERS.items():
            started = time.perf_counter()
            rewards = score(cases)
            seconds = time.perf_counter() - started
            counts = agreement(cases, rewards)
            share = f"{100 * counts['agree'] / len(cases):.2f} %"
            errors = [str(counts[kind]) for kind in ("wrongly 1", "wrongly 0", "undecided")]
            lines.append([name, verifier, str(len(cases)), share, *errors, f"{seconds:.2f}"])
            if score is guerdon_rewards:
                disagreements += _disagreements(name, cases, rewards)
    heads = ["set", "verifier", "responses", "agree with label", "1, label wrong", "0, label right", "undecided", "s"]
    counted = Counter(disagreements)
    rest = table(
        ["set", "reference", "answer found", "reward", "label", "responses"],
        [[*key, str(count)] for key, count in sorted(counted.items())],
    )
    return f"{table(heads, lines)}\n\nAll responses where `MathAnswer` and the label differ:\n\n{rest}"


def _disagreements(name: str, cases: list[Case], rewards: list[float]) -> Iterator[tuple[str, ...]]:
    verifier = MathAnswer()
    for case, reward in zip(cases, rewards, strict=True):
        if reward != float(case.right):
            found = verifier(case.response, case.gold, {}).extracted or ""
            yield name, f"`{case.gold}`", f"`{found}`", f"{reward:g}", "right" if case.right else "wrong"


# --- differences from math-verify -------------------------------------------------------------------------------


def real_answers(data: Path) -> list[str]:
    """All different reference answers and predictions of the real data."""
    found = {str(row["answer"]) for row in _lines(data / "math500" / "test.jsonl")}
    for row in _lines(data / "math_cot_100" / "math_cot_100.jsonl"):
        found |= {str(row["gt"]), *map(str, row["pred"])}
    for folder in ("aime24", "amc23"):
        for row in _lines(data / folder / "test.jsonl"):
            answer = row["answer"]
            found.add(str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer))
    found |= {case.gold for case in gsm8k(data)}
    return sorted(answer for answer in found if answer.strip())


def rewritten(answer: str, draw: random.Random) -> str:
    """An answer as another model might have written it, or a near miss.

    Args:
        answer: An answer.
        draw: Source of chance.
    """
    changes: list[Callable[[str], str]] = [
        lambda text: f"${text}$",
        lambda text: f"x = {text}",
        lambda text: f"({text})",
        lambda text: text + "0",
        lambda text: text + ".0" if text.isdigit() else text + " + 0",
        lambda text: text.replace("\\frac", "\\dfrac"),
        lambda text: text.replace(" ", ""),
        lambda text: text.replace(",", ", "),
        lambda text: f"-{text}",
        lambda text: f"{text}\\%",
        lambda text: f"{text} \\text{{ cm}}",
        lambda text: f"{text}^\\circ",
        lambda text: f"2 \\cdot {text}",
        lambda text: f"\\text{{{text}}}",
        lambda text: f"{text}, {text}1",
        lambda text: text[::-1] if text.isalnum() else text[1:],
        lambda text: text.replace("\\pi", "3.14159265"),
        lambda text: text.replace("+", "-", 1),
        lambda text: text.replace("(", "[").replace(")", "]"),
        lambda text: "\\left" + text.replace(")", "\\right)") if text.startswith("(") else text,
    ]
    return draw.choice(changes)(answer)


def pairs(data: Path, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of prediction and reference answer: each with itself, with others, and rewritten.

    Args:
        data: Where the data are.
        count: How many for each reference answer, of others and of rewritten ones.
        seed: For the draw.
    """
    draw = random.Random(seed)
    answers = real_answers(data)
    found = {(answer, answer) for answer in answers}
    for row in _lines(data / "math_cot_100" / "math_cot_100.jsonl"):
        predictions = sorted({str(answer) for answer in row["pred"]} | {str(row["gt"])})
        found |= {(a, b) for a in predictions for b in predictions}
    for gold in answers:
        for _ in range(count):
            found.add((draw.choice(answers), gold))
            found.add((rewritten(gold, draw), gold))
    return sorted(pair for pair in found if pair[0].strip() and pair[1].strip())


def differences(cases: list[tuple[str, str]]) -> tuple[Counter[str], list[tuple[str, str, bool, bool]]]:
    """Where the fast path decides, and decides otherwise than `math-verify`.

    Args:
        cases: Pairs of prediction and reference answer.

    Returns:
        Counts, and (prediction, reference answer, our decision, that of math-verify).
    """
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    counts: Counter[str] = Counter(pairs=len(cases))
    found = []
    for prediction, gold in cases:
        ours = decide(prediction, gold)
        counts["decided"] += ours is not None
        if ours is None or refusal(prediction) or refusal(gold):
            continue
        counts["compared"] += 1
        theirs = math_verify.verify(
            math_verify.parse(f"${gold.strip('$')}$"), math_verify.parse(f"${prediction.strip('$')}$")
        )
        if ours != theirs:
            found.append((prediction, gold, ours, bool(theirs)))
    return counts, found


def differences_text(data: Path) -> str:
    """The measured differences as Markdown."""
    counts, found = differences(pairs(data, 8))
    summary = (
        f"Of {counts['pairs']} pairs of real answers (each with itself, with others, and rewritten) the fast path "
        f"decides {counts['decided']}. It agrees with math-verify on {counts['compared'] - len(found)} of the "
        f"{counts['compared']} that math-verify was given; the {len(found)} others:"
    )
    lines = [[f"`{a}`", f"`{b}`", str(int(ours)), str(int(theirs))] for a, b, ours, theirs in found]
    return f"{summary}\n\n{table(['answer', 'reference', 'guerdon', 'math-verify'], lines)}"


# --- cases that are argued for ----------------------------------------------------------------------------------

ARGUED = (
    ("5 \\text{ cm}", "5 \\text{ m}", "units of one dimension are converted, those of different ones differ"),
    ("100 \\text{ cm}", "1 \\text{ m}", "units of one dimension are converted"),
    ("\\$5", "5 \\text{ cents}", "a currency sign is a unit"),
    ("\\max(\\infty, 2)", "0.25", "what is infinite is no number"),
    ("33.3\\%", "33.3", "a per cent sign may be missing on one side, for decimals as for integers"),
    (".0000674", ".0000672", "six decimal places are too few for small numbers: four digits must agree as well"),
    ("5.0000001", "5", "a decimal that rounds to the value at six places is the value, for integers too"),
    ("1e3", "1000", "`e` between digits is a power of ten, not Euler's number"),
    ("12 3/5", "12.6", "a mixed number, not a product"),
    ("1 000 000", "1000000", "groups of three digits, not a product that is 0"),
    ("1\\,234", "1234", "a thin space between thousands"),
    ("5 0", "0", "two numbers, not a product that is 0"),
    ("0.\\overline{3}", "\\frac{1}{3}", "a repeating decimal"),
    ("0.\\overline{3}", "0", "a repeating decimal is not cut off at its bar"),
    ("twelve", "12", "number words up to twenty"),
    ("3 = 5", "5", "an equation of two different numbers answers nothing"),
    ("5 \\text{ or more}", "5", "the words change the answer"),
    ("5|6", "5", "what is not understood completely is not read in part"),
    ("\\not 5", "5", "what is not understood completely is not read in part"),
    ("\\neq 5", "5", "it says what the answer is not"),
    ("2:30", "1:15", "times of the day are no quotients; ratios must be written alike"),
    ("41_{9}", "41_{8}", "the bases differ"),
    ("x", "X", "variables have their case"),
    ("\\sqrt{x}\\sqrt{y}", "\\sqrt{xy}", "equal wherever both are real"),
    ("B\\cup A", "A\\cup B", "a union has no order"),
    ("204_5 + 0", "204_5", "a number with a base is not computed with"),
    ("5-", "5", "a sign is left over"),
)


def argued_text() -> str:
    """The chosen differences, measured."""
    import math_verify

    lines = []
    for prediction, gold, reason in ARGUED:
        ours = answers_match(prediction, gold).reward
        theirs = math_verify.verify(math_verify.parse(f"${gold}$"), math_verify.parse(f"${prediction}$"))
        lines.append([f"`{prediction}`", f"`{gold}`", f"{ours:g}", str(int(theirs)), reason])
    return table(["answer", "reference", "guerdon", "math-verify", "why"], lines)


def main() -> None:
    """Write all parts of the page that can be measured here."""
    write(PAGE, "deliberate differences", argued_text())
    data = data_folder()
    if data is None:
        print("no data at GUERDON_DATA or ../shared/data: the tables stay as they are")
        return
    write(PAGE, "differences on real answers", differences_text(data))
    write(PAGE, "agreement", tables(data))


if __name__ == "__main__":
    main()
