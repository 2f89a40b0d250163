import html.parser
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xinst_jax import shards
from xinst_jax.report import page, rubric

SECTIONS = (
    "way",
    "stages",
    "training",
    "rating",
    "variety",
    "evaluation",
    "worth",
    "languages",
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Elements of a page, and whether each that opens also closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag, **attributes):
        return [
            found
            for name, found in self.elements
            if name == tag
            and all(found.get(key) == value for key, value in attributes.items())
        ]


@pytest.fixture(scope="module")
def report(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    page.write(workdir.path, out, "run <b>one</b>", workdir.languages, workdir.stages)
    return out.read_text()


@pytest.fixture(scope="module")
def parsed(report):
    return Page(report)


def test_the_page_has_every_section_and_every_language(parsed, workdir):
    ids = {element.get("id") for element in parsed.all("section")}
    assert ids >= set(SECTIONS) | {f"lang-{code}" for code in workdir.languages}
    assert parsed.text.count("not made yet") == 0


def test_the_page_shows_the_rubric_and_the_clusters_drawn_from(report, workdir):
    statistics = json.loads((workdir.path / "dataset" / "statistics.json").read_bytes())
    levels, rules, thresholds = rubric.tables(statistics, {"fi": "Finnish"})
    assert [row[:2] for row in levels.rows][:2] == [
        ["good", "none"],
        ["fair", "neighbour instruction"],
    ]
    assert ["too short", "has an instruction of fewer than 10 characters"] in rules.rows
    assert ["Finnish", "0.5", "50%"] in thresholds.rows
    (coverage,) = rubric.coverage(statistics, {"fi": "Finnish"})
    assert ["Finnish", "3", "4", "15%", "25%"] in coverage.rows
    for part in (levels, rules, thresholds, coverage):
        assert part.caption in report
    assert rubric.tables(None, {}) == rubric.coverage(None, {}) == []


def test_every_link_leads_to_a_place_in_the_page(parsed):
    ids = {element["id"] for _, element in parsed.elements if element.get("id")}
    links = [element["href"] for element in parsed.all("a")]
    assert {f"#{section}" for section in SECTIONS} <= set(links)
    assert {link.removeprefix("#") for link in links} <= ids


def test_the_page_asks_the_network_for_nothing(report, parsed):
    for _, element in parsed.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert element.get(name, "#").startswith(("#", "data:")), element
    without_own = report.replace("url(#", "")
    for outside in ("@import", "url(", "http://", "https://"):
        assert without_own.count(outside) == 0
    assert not parsed.all("link")


def test_text_of_the_run_is_shown_and_never_run(report, parsed):
    assert report.count("<script>alert") == 0
    assert len(parsed.all("script")) == 1
    assert report.count("<b>one</b>") == 0
    assert "<script>alert('planted')</script> & \"quoted\" $x^2$" in parsed.text
    for _, element in parsed.elements:
        assert not any(name.startswith("on") for name in element)


def test_urdu_runs_from_right_to_left_and_finnish_does_not(parsed):
    blocks = [element for element in parsed.all("div") if "dir" in element]
    directions = {(element["lang"], element["dir"]) for element in blocks}
    assert directions == {("ur", "rtl"), ("fi", "ltr"), ("th", "ltr")}


def test_each_language_shows_its_pairs_with_scores(parsed):
    for code in ("fi", "th", "ur"):
        shown = parsed.all("div", lang=code)
        # 16 pairs, 3 answers, 2 of each of 2 corpus reasons and 2 rating reasons.
        assert len(shown) == 16 + 3 + 4 + 4
    assert "score 1.00 · cluster 0" in parsed.text
    assert "score 0.85 · cluster 3" in parsed.text


def test_pictures_are_named_captioned_and_take_the_colours_of_the_page(report, parsed):
    pictures = parsed.all("svg")
    assert len(pictures) == len(parsed.all("figure")) == len(parsed.all("figcaption"))
    assert all(p["role"] == "img" and p["aria-label"] for p in pictures)
    drawings = "".join(part.split("</svg>")[0] for part in report.split("<svg")[1:])
    assert "var(--ink)" in drawings
    for stand_in in ("#010101", "#020202", "#030303", "#040404", "#050505", "#060606"):
        assert drawings.count(stand_in) == 0


def test_no_id_occurs_twice(parsed):
    ids = [element["id"] for tag, element in parsed.elements if "id" in element]
    of_pictures = [i for i in ids if i not in SECTIONS and not i.startswith("lang-")]
    sections = [i for i in ids if i not in of_pictures]
    assert len(sections) == len(set(sections))


def test_figures_on_the_page_are_those_of_the_manifests(parsed):
    text = parsed.text
    assert "132 documents in 3 languages were read, and 48 pairs" in text
    assert "near duplicate 6, too short 6" in text
    assert "Round 1: 72 of 120 pairs kept." in text
    assert "Held out 5.500 → 3.500 (fi 6.00 → 4.00), 1,234 tokens/s." in text
    # 2 blocks of 100 * (2 * 100 + 2 * 50 + 3 * 200), and a table of 1000 * 100.
    assert "have 0.3 million parameters" in text
    assert "3.250" in text
    assert "1.750" in text


def test_equal_workdirs_give_equal_pages(report, workdir, tmp_path):
    out = tmp_path / "again.html"
    page.write(workdir.path, out, "run <b>one</b>", workdir.languages, workdir.stages)
    equal = out.read_text() == report
    assert equal


def test_an_empty_workdir_gives_a_page_that_says_so(workdir, tmp_path):
    out = tmp_path / "report.html"
    page.write(tmp_path / "none", out, "empty", workdir.languages, workdir.stages)
    parsed = Page(out.read_text())
    assert {element.get("id") for element in parsed.all("section")} >= set(SECTIONS)
    assert parsed.text.count("not made yet") > 10


STAGES = (
    "corpus",
    "base",
    "generator",
    "candidates",
    "rater",
    "ratings",
    "diverse",
    "dataset",
    "model",
    "evaluation",
)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_not_made_yet_leaves_the_rest_standing(
    stage, workdir, tmp_path
):
    shutil.copytree(workdir.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / stage)
    out = tmp_path / "report.html"
    page.write(
        tmp_path / "run",
        out,
        "partial",
        {"fi": workdir.languages["fi"]},
        workdir.stages,
    )
    parsed = Page(out.read_text())
    assert "not made yet" in parsed.text
    if stage != "dataset":
        assert "score 1.00 · cluster 0" in parsed.text


def test_a_half_made_stage_is_not_made_yet(workdir, tmp_path):
    shutil.copytree(workdir.path, tmp_path / "run")
    directory = tmp_path / "run" / "dataset"
    (directory / "manifest.json").unlink()
    for code in workdir.languages:
        (whole,) = (directory / code).glob("*.parquet")
        whole.rename(directory / code / "part-00001-of-00002.parquet")
    out = tmp_path / "report.html"
    page.write(tmp_path / "run", out, "half", workdir.languages, workdir.stages)
    assert "the dataset is not made yet" in Page(out.read_text()).text


def test_a_language_of_which_nothing_was_kept_is_not_called_unmade(workdir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(workdir.path, run)
    for directory in (run / "dataset" / "fi", run / "diverse" / "fi"):
        (path,) = directory.glob("*.parquet")
        shards.write_table(path, pq.read_table(path).slice(0, 0))
    for name in ("map", "clusters"):
        path = run / "diverse" / name / "fi.parquet"
        shards.write_table(path, pq.read_table(path).slice(0, 0))
    path = run / "ratings" / "round-2" / "fi" / shards.shard_name(0, 1)
    table = pq.read_table(path)
    none = pa.array([False] * len(table))
    shards.write_table(path, table.set_column(3, "kept", none))
    figures = json.loads((run / "dataset" / "statistics.json").read_bytes())
    figures["languages"]["fi"] = {"rows": 0, "top_verbs": []}
    (run / "dataset" / "statistics.json").write_text(json.dumps(figures))
    out = tmp_path / "report.html"
    page.write(run, out, "nothing", {"fi": workdir.languages["fi"]}, workdir.stages)
    text = Page(out.read_text()).text
    assert "No pair of this language is in the dataset." in text
    assert "Map of the instructions: no row to show." in text
    assert text.count("not made yet") == 0


def test_pictures_of_a_large_run_are_drawn_from_a_part_and_say_so(
    workdir, tmp_path, monkeypatch
):
    monkeypatch.setattr(page, "LIMIT", 10)
    out = tmp_path / "report.html"
    page.write(
        workdir.path, out, "large", {"fi": workdir.languages["fi"]}, workdir.stages
    )
    text = Page(out.read_text()).text
    assert "Drawn from 10 of 16 pairs." in text
    assert "Map of 10 of 24 kept instructions" in text


def test_an_imported_base_model_is_named(workdir, tmp_path):
    shutil.copytree(workdir.path, tmp_path / "run")
    path = tmp_path / "run" / "base" / "manifest.json"
    record = json.loads(path.read_bytes())
    record["config"]["base_model"] = "models/large"
    path.write_text(json.dumps(record))
    out = tmp_path / "report.html"
    page.write(
        tmp_path / "run", out, "large", {"fi": workdir.languages["fi"]}, workdir.stages
    )
    assert "start from models/large." in Page(out.read_text()).text
