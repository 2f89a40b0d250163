"""Files of the sets: XStoryCloze as it is published, and those of the sample."""

import json
import subprocess
import sys

import pytest

from tools import sample_benchmarks, xstorycloze_rows
from xinst_jax import run_file
from xinst_jax.config import BenchmarkConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import benchmarks
from xinst_jax.eval.benchmarks import COVERAGE
from xinst_jax.languages import BUILT_IN

HEADING = (
    "story_id\tinput_sentence_1\tinput_sentence_2\tinput_sentence_3\tinput_sentence_4\t"
    "sentence_quiz1\tsentence_quiz2\tanswer_right_ending\n"
)
STORY = 'id-1\tMvua ilinyesha.\tB.\tC.\tD.\t"Alisema ""ndiyo""."\tHapana.\t2\n'


def test_xstorycloze_as_published_becomes_rows_that_are_measured(tmp_path):
    published = tmp_path / "spring2016.val.sw.tsv.split_20_80_eval.tsv"
    published.write_text(HEADING + STORY * 2, "utf-8")
    path = tmp_path / "bench" / "xstorycloze" / "sw" / "eval.jsonl"
    command = [sys.executable, "tools/xstorycloze_rows.py", str(published), str(path)]
    subprocess.run(command, check=True, cwd=run_file.PROJECT)
    row = json.loads(path.read_text("utf-8").splitlines()[0])
    assert (row["input_sentence_1"], row["input_sentence_4"]) == (
        *("Mvua ilinyesha.", "D."),
    )
    assert row["sentence_quiz1"] == 'Alisema "ndiyo".'
    assert row["answer_right_ending"] == 2
    config = BenchmarkConfig(sets=("xstorycloze",), data=str(tmp_path / "bench"))
    [task] = benchmarks.tasks(config, {"sw": BUILT_IN["sw"]})
    assert task.data_files(config) == {"eval": path}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no row below its heading"),
        (HEADING + "id-1\tMvua.\n", "line 2 has 2 columns parted by tabs; expected 8"),
        (HEADING + STORY.replace("\t2", "\t3"), "right ending is '3'; expected 1 or 2"),
    ],
)
def test_a_file_that_is_none_of_its_is_refused(tmp_path, text, message):
    published = tmp_path / "stories.tsv"
    published.write_text(text)
    with pytest.raises(UserError, match=message):
        xstorycloze_rows.rows(published)


def test_the_sample_has_rows_of_every_set_in_each_of_its_languages(tmp_path):
    sample_benchmarks.write(tmp_path)
    config = BenchmarkConfig(sets=tuple(COVERAGE), data=str(tmp_path))
    for task in benchmarks.tasks(config, BUILT_IN):
        [path] = task.data_files(config).values()
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert len(rows) == 8
        truths = ("label", "answer_right_ending", "correct_answer_num")
        assert len({row[name] for row in rows for name in truths if name in row}) > 1
