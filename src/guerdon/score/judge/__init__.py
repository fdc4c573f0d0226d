"""An LLM as a judge: prompts from files, any OpenAI-compatible endpoint, strict reading of what it replies."""

from guerdon.score.judge.budget import Budget, Spending
from guerdon.score.judge.client import JudgeClient, Reply
from guerdon.score.judge.parse import UnreadableReplyError
from guerdon.score.judge.parsers import (
    JsonNumber,
    JsonNumbers,
    Label,
    Parser,
    Preference,
    Rating,
    ScoreOverMax,
    StepVerdicts,
    UnitNumber,
    UnitNumbers,
)
from guerdon.score.judge.stage import Judge
from guerdon.score.judge.template import Template, templates

__all__ = [
    "Budget",
    "JsonNumber",
    "JsonNumbers",
    "Judge",
    "JudgeClient",
    "Label",
    "Parser",
    "Preference",
    "Rating",
    "Reply",
    "ScoreOverMax",
    "Spending",
    "StepVerdicts",
    "Template",
    "UnitNumber",
    "UnitNumbers",
    "UnreadableReplyError",
    "templates",
]
