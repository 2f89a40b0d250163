"""What the content of a stage depends on beside its inputs."""

from collections.abc import Mapping
from typing import Any

from xinst_jax import __version__
from xinst_jax import config as config_lib


def depends(run: config_lib.RunConfig, **parts: Any) -> Mapping[str, Any]:
    """What a stage's content depends on beside its inputs, ready for JSON."""
    return {
        "xinst_jax": __version__,
        "languages": config_lib.as_record(list(run.language_table.values())),
        **{name: config_lib.as_record(part) for name, part in parts.items()},
    }


def under(config: config_lib.TrainConfig) -> tuple[str, ...]:
    """What a reader of a training's adapters reads beside them: the base model."""
    return ("base",) if config.lora.rank else ()


def pmi_stage(run: config_lib.RunConfig, number: int) -> str | None:
    """The stage whose model gives a round its mutual information, if one does."""
    stages = {"follower": f"follower/round-{number}", "base": "base", "none": None}
    return stages[run.rate.pmi_model]
