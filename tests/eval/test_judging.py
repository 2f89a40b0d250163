"""A judged comparison on disk, and its page as a reader and a script see it."""

import html.parser
import json
import pathlib
import subprocess
import sys

import pytest
import rich.console

from xinst_jax import shards
from xinst_jax.config.judging import JudgeConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import answers, fidelity, judging, tables, verdicts
from xinst_jax.eval.judge import Said
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory

LANGUAGES = {code: BUILT_IN[code] for code in ("fi", "ur")}
PLANTED = "<script>alert('planted')</script> & {{ 7 * 7 }}"
CONFIG = JudgeConfig(judge="base", prompt="verdict", bootstrap=200, planted_pairs=2)
WRITTEN = {
    "fi": [{"id": "s1", "instruction": "Rain?", "output": "Sade tulee pilvistä alas."}],
    "ur": [{"id": "s2", "instruction": "Bread?", "output": "روٹی تنور میں پکتی ہے۔"}],
}


def answer(code, number, text, sample=1, of="rivers"):
    return {
        "question_set": of,
        "id": f"q{number}",
        "lang": code,
        "instruction": f"Name {number} rivers. {PLANTED}",
        "sample": sample,
        "answer": text,
        **vars(fidelity.Fidelity(True, 1.0, False, False, 0.0, 0.0)),
    }


def rows(ours, theirs):
    """One answer a question: the n-th text answers question n, in both languages."""
    return {
        model: {
            code: [answer(code, n, text) for n, text in enumerate(texts)]
            for code in LANGUAGES
        }
        for model, texts in (("tuned", ours), ("base", theirs))
    }


ROWS = rows(["aaaa", "a", "aa", "?"], ["bb", "bbb", "bb", "b"])


def by_length(shown):
    """Prefers the longer, of equal ones the first; cannot read a question mark."""
    found = []
    for one in shown:
        if "?" in (one.first, one.second):
            found.append(Said(verdicts.Reading(reason="empty"), ""))
        else:
            letter = "[[A]]" if len(one.first) >= len(one.second) else "[[B]]"
            found.append(Said(verdicts.read_letter(letter), f"{letter} {PLANTED}"))
    return found


def run(directory, judge=by_length, given=ROWS, config=CONFIG):
    stage = StageDirectory(directory, "judgments", {}, {})
    put = judging.all_pairs(config, given, "tuned", LANGUAGES, WRITTEN)
    return judging.run(
        stage,
        config,
        given,
        "tuned",
        LANGUAGES,
        put,
        judge,
        judge_name="by length",
        title="run <b>one</b>",
        remote=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    directory = tmp_path_factory.mktemp("judgments")
    run(directory)
    return directory


@pytest.fixture(scope="module")
def record(made):
    return json.loads((made / "win_rates.json").read_bytes())


def test_every_pair_is_judged_and_none_twice(made, record):
    found = shards.read_rows(made / "pairs" / "ur")
    assert [(row["kind"], row["id"]) for row in found] == [
        *(("answers", f"q{n}") for n in range(4)),
        ("wrong_language", "s2/wrong_language"),
        ("cut", "s2/cut"),
    ]
    rate = record["sets"]["rivers"]["languages"]["ur"]["win_rates"]["base"]
    assert [rate[name] for name in ("wins", "losses", "ties", "unjudged")] == [1] * 4
    assert rate["rate"] == 0.5 and rate["reasons"] == {"empty": 2}
    whole = record["sets"]["rivers"]["all"]["base"]
    assert whole["pairs"] == 8 and whole["wins"] == 2


def test_what_the_judge_prefers_of_planted_pairs_stands_beside_the_rates(record):
    assert record["planted"]["languages"]["fi"]["cut"]["preferred"] == 1
    assert record["planted"]["all"]["wrong_language"]["pairs"] == 2
    console = rich.console.Console(width=200, record=True)
    console.print(tables.win_rates(record, "rivers"))
    text = console.export_text()
    assert (
        "tuned judged by by length (prompt 'verdict', rule 'agree', the first" in text
    )
    assert "1-1-1" in text and "1/1" in text and "Urdu" in text


def test_which_sample_was_judged_changes_the_rate_and_is_named(tmp_path):
    given = rows(["aaaa"] * 3, ["bbb"] * 3)
    for code in LANGUAGES:
        given["tuned"][code] += [answer(code, n, "a", 2) for n in range(3)]
    found = {}
    for sample in ("first", "shortest", "longest"):
        config = JudgeConfig(
            judge="base", prompt="verdict", bootstrap=50, sample=sample, planted_pairs=0
        )
        run(tmp_path / sample, given=given, config=config)
        made = json.loads((tmp_path / sample / "win_rates.json").read_bytes())
        found[sample] = made["sets"]["rivers"]["all"]["base"]["rate"]
        assert f"the {sample} of 2 answers" in tables.judge_words(made)
    assert found == {"first": 1.0, "shortest": 0.0, "longest": 1.0}


def test_a_stopped_judge_goes_on_with_the_next_language(tmp_path, made):
    asked = []

    def stopping(shown):
        asked.append({one.language for one in shown})
        if len(asked) == 2:
            raise KeyboardInterrupt
        return by_length(shown)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopping)
    run(tmp_path, stopping)
    assert asked == [{"Finnish"}, {"Urdu"}, {"Urdu"}]
    for path in shards.each_file(made):
        assert (tmp_path / path.relative_to(made)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("change", ["missing", "other"])
def test_answers_to_other_questions_are_refused(tmp_path, change):
    given = rows(["a", "b"], ["c", "d"])
    if change == "missing":
        del given["base"]["ur"][1]
        told = "not asked the same questions in ur: 1 differ, as rivers/q1"
    else:
        given["base"]["ur"][1]["instruction"] = "Sing."
        told = "Question rivers/q1 in ur is not the same"
    with pytest.raises(UserError, match=told):
        run(tmp_path, given=given)


class Page(html.parser.HTMLParser):
    """What a browser would see: elements, the pairs, the filters, the script."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.articles, self.options = [], [], {}
        self.script, self.words, self._in = "", "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        self._in.append((tag, found))
        if tag == "article":
            names = ("set", "lang", "opponent", "outcome", "disagree")
            self.articles.append({name: found[f"data-{name}"] for name in names})
        if tag == "option":
            select = next(a["id"] for t, a in self._in[::-1] if t == "select")
            self.options.setdefault(select, []).append(found["value"])
        if tag in ("meta", "input"):
            self._in.pop()

    def handle_endtag(self, tag):
        assert self._in.pop()[0] == tag

    def handle_data(self, data):
        if self._in and self._in[-1][0] == "script":
            self.script += data
        elif "style" not in [tag for tag, _ in self._in]:
            self.words += data


@pytest.fixture(scope="module")
def page(made):
    return Page((made / "eval.html").read_text())


def test_the_page_asks_the_network_for_nothing_and_runs_no_answer(made, page):
    text = (made / "eval.html").read_text()
    for outside in ("@import", "url(", "http://", "https://", "<link"):
        assert outside not in text
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert PLANTED in page.words and "run <b>one</b>" in page.words


def test_the_page_shows_both_answers_and_both_verdicts_of_every_pair(page):
    assert len(page.articles) == 8
    outcomes = {pair["outcome"] for pair in page.articles}
    assert outcomes == {"win", "tie", "loss", "unjudged"}
    ties = [pair for pair in page.articles if pair["outcome"] == "tie"]
    assert {pair["disagree"] for pair in ties} == {"yes"}
    assert page.words.count("tuned shown first") == 8
    assert page.words.count("tuned shown second") == 8
    assert "not read (empty)" in page.words and "better, 1 : 0" in page.words


def test_urdu_answers_run_from_right_to_left(page):
    sides = [a for tag, a in page.elements if tag == "div" and a.get("class") == "say"]
    assert {(side["lang"], side["dir"]) for side in sides} == {
        ("fi", "ltr"),
        ("ur", "rtl"),
    }


_SHOWN = """(() => {
  const pairs = Array.from(document.querySelectorAll("article.pair"));
  const seen = pairs.map((pair, n) => (pair.offsetHeight > 0 ? n : -1));
  return {
    shown: seen.filter((n) => n >= 0),
    said: document.getElementById("shown").textContent,
    filters: document.getElementById("filters").offsetHeight > 0,
  };
})()"""

_CHANGED = """((changes) => {
  for (const [id, change] of Object.entries(changes)) {
    const element = document.getElementById(id);
    Object.assign(element, change);
    element.dispatchEvent(new Event("change"));
  }
  return null;
})(%s)"""

_DIRECTIONS = """Array.from(document.querySelectorAll("div.say")).map(
  (side) => [side.lang, getComputedStyle(side).direction]
)"""


def _browsed(path, scripts):
    """What scripts give in a page that a browser has opened from the disk."""
    browser = pathlib.Path(__file__).with_name("browser.py")
    try:
        done = subprocess.run(
            [sys.executable, str(browser), path],
            input=json.dumps(scripts),
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("NOT TESTED in a browser: it did not start in two minutes")
    if not done.stdout and done.returncode:
        pytest.skip(f"NOT TESTED in a browser: none starts: {done.stderr[-300:]}")
    return json.loads(done.stdout)


def test_in_a_browser_the_filters_show_the_pairs_that_match_all_of_them(made, page):
    steps = [
        {},
        {"filter-lang": {"value": "ur"}},
        {"filter-outcome": {"value": "tie"}},
        {"filter-lang": {"value": ""}, "filter-outcome": {"value": ""}},
        {"filter-disagree": {"checked": True}},
        {"filter-set": {"value": "none"}},
    ]
    scripts = [text for step in steps for text in (_CHANGED % json.dumps(step), _SHOWN)]
    browsed = _browsed(made / "eval.html", [*scripts, _DIRECTIONS])
    *results, directions = browsed["results"]
    results = results[1::2]

    def matching(**wanted):
        return [
            n
            for n, pair in enumerate(page.articles)
            if all(pair[name] == value for name, value in wanted.items())
        ]

    assert [result["shown"] for result in results] == [
        list(range(8)),
        matching(lang="ur"),
        matching(lang="ur", outcome="tie"),
        list(range(8)),
        matching(disagree="yes"),
        # Not one of the choices: the browser takes it for none of them.
        matching(disagree="yes"),
    ]
    assert results[1]["said"] == "4 of 8 pairs" and results[0]["filters"]
    assert page.options["filter-lang"] == ["", "fi", "ur"]
    assert page.options["filter-outcome"] == ["", "win", "tie", "loss", "unjudged"]
    assert {tuple(one) for one in directions} == {("fi", "ltr"), ("ur", "rtl")}
    assert [pathlib.Path(url).name for url in browsed["requests"]] == ["eval.html"]


def test_answers_of_an_endpoint_are_asked_for_in_the_papers_words():
    question = answers.Question("s/fi/q/1", "Sing.", BUILT_IN["fi"], False, 2)
    request = answers.endpoint_request(question)
    assert request.sample == 2
    ((role, text),) = request.messages
    assert role == "user"
    assert text == (
        "Given an instruction in English, please generate a response in Finnish."
        "\n\nInstruction: Sing.\n\n### Response:"
    )
