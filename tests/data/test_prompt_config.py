"""Prompts as settings: what they reach, what is made again, what is refused."""

import ast
import pathlib

import pytest

from xinst_jax import run_file
from xinst_jax.config import PromptConfig
from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.pipeline import stages

_FOLLOWERS = ("follower", "ratings")
PACKAGE = pathlib.Path(__file__).parents[2] / "xinst_jax"


def load(*overrides: str):
    return run_file.load("gin/runs/quickstart.gin", list(overrides))


def test_a_gin_file_sets_the_prompts():
    run = load(
        "PromptConfig.request='In {language}.'", "PromptConfig.reverse='{response} ->'"
    )
    assert prompts.reverse("Hei.", run.prompts) == "Hei. ->"
    web = prompts.answer("Greet.", "Finnish", False, run.prompts)
    assert web == prompts.answer("Greet.", "Finnish", False).replace("Answer in", "In")
    seed_prompt = prompts.answer("Greet.", "Finnish", True, run.prompts)
    assert seed_prompt == prompts.answer("Greet.", "Finnish", True)


@pytest.mark.parametrize(
    ("field", "template"),
    [
        ("reverse", "Ask for it."),
        ("reverse", "{response} {response}"),
        ("reverse", "{text}"),
        ("reverse", "{response!r}"),
        ("reverse", "{response} {"),
        ("answer", "{request} {instruction}"),
        ("answer", "{instruction}\n{request}"),
        ("request", "In\n{language}."),
        ("seed_request", ""),
        ("rate", "{instruction} {response}"),
        ("rate", 3),
    ],
)
def test_a_template_without_its_slots_is_refused_by_name(field, template):
    with pytest.raises(UserError, match=rf"PromptConfig\.(answer must|{field} =)"):
        PromptConfig(**{field: template})


@pytest.mark.parametrize(
    ("field", "template", "names"),
    [
        (
            "reverse",
            "{response} ->",
            {"generator", "candidates", "ratings", "evaluation"},
        ),
        (
            "answer",
            "{instruction} {request} ->",
            {*_FOLLOWERS, "model", "hf_model", "evaluation", "benchmark"},
        ),
        ("request", "In {language}.", {"rater", "follower", "ratings", "model"}),
        (
            "seed_request",
            "In {language}, please.",
            {*_FOLLOWERS, "model", "hf_model", "evaluation", "benchmark"},
        ),
        ("rate", "{response} {instruction} {request}", {"rater", "ratings"}),
    ],
)
def test_a_prompt_makes_the_stages_that_use_it_again(field, template, names):
    given = (
        "BenchmarkConfig.tasks=('xcopa',)",
        "BenchmarkConfig.chat_template=True",
        "RateConfig.pmi_model='follower'",
    )
    before, after = (
        {one.name: one.config for one in stages.graph(load(*given, *more))}
        for more in ((), (f"PromptConfig.{field}={template!r}",))
    )
    changed = {name for name in before if before[name] != after[name]}
    assert {name.split("/")[0] for name in changed} == names


def asks(node: ast.AST) -> bool:
    """Whether it is one of the functions that put texts into templates."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "prompts"
        and node.attr in ("reverse", "answer", "rate", "chat", "of_rating")
    )


def has_templates(call: ast.Call) -> bool:
    """Whether `wording`, or `run.prompts`, is among what is given."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(
        (isinstance(one, ast.Name) and one.id == "wording")
        or (isinstance(one, ast.Attribute) and one.attr in ("prompts", "wording"))
        for one in given
    )


def test_every_prompt_is_asked_for_with_the_run_s_templates():
    """A call without them would ask with the paper's, whatever the run says."""
    calls = [
        (path.name, node.lineno, has_templates(node))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and any(map(asks, [node.func, *node.args]))
    ]
    assert len(calls) >= 15 and all(given for _, _, given in calls)
