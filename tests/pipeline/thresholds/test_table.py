"""The tables in docs/ and the constants that are left in the code."""

import pathlib

ROOT = pathlib.Path(__file__).parents[3]
PIPELINE = ROOT / "xinst_jax" / "pipeline"

NO_DECISION = {
    "_AT_MOST": "",
}
