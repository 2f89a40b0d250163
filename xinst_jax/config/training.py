"""How a model is trained: all of its weights, or adapters in their place."""

import dataclasses

from xinst_jax.config.fields import (
    Typed,
    decay,
    not_negative,
    one_of,
    operational,
    positive,
    registered,
    share,
)
from xinst_jax.errors import UserError

OPTIMIZERS = ("adamw", "adafactor")

PROJECTIONS = ("query", "key", "value", "out", "gate", "up", "down")
"""The matrices of a block that adapters may be put on, by logical name."""


@registered
@dataclasses.dataclass(frozen=True)
class LoraConfig(Typed):
    """Low-rank adapters, trained in place of the weights (Hu et al., 2106.09685).

    Attributes:
      rank: r, the rank of each change; 0 trains all weights and no adapters.
      alpha: a change is A B * alpha / rank.
      targets: the projections that get one, among `PROJECTIONS`.
    """

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = PROJECTIONS

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "targets", tuple(self.targets))
        not_negative(self, "rank")
        positive(self, "alpha")
        unknown = [name for name in self.targets if name not in PROJECTIONS]
        if unknown or not self.targets or len({*self.targets}) < len(self.targets):
            raise UserError(
                f"LoraConfig.targets = {self.targets}; expected different names among "
                f"{', '.join(PROJECTIONS)}."
            )

    @property
    def scale(self) -> float:
        """What A B is multiplied by."""
        return self.alpha / self.rank


@registered
@dataclasses.dataclass(frozen=True)
class TrainConfig(Typed):
    """One training run.

    Attributes:
      length: tokens of a packed row.
      global_batch: packed rows of a step, over all devices.
      microbatches: parts that the global batch is cut into; gradients are summed over
        them before the one update. As many held-out rows as a part has are evaluated at
        once.
      steps: updates.
      learning_rate: peak, reached after `warmup_steps`, then a cosine down to
        `final_lr_share` of it at `steps`.
      warmup_steps: steps of linear warm-up from 0; all steps where there are fewer.
      final_lr_share: share of the peak learning rate left at the end.
      weight_decay: decoupled, on matrices only (no norms).
      optimizer: 'adamw', or 'adafactor', whose state is a row and a column of each
        matrix in place of two more matrices, but one more of attention's where heads
        are narrower than 128; `learning_rate` is a step's size in both.
      b1: AdamW's decay of the first moment.
      b2: AdamW's decay of the second moment.
      mu_dtype: of AdamW's first moment: 'float32', or 'bfloat16' for half its memory.
        The second has the parameters' dtype.
      clip_norm: global gradient norm above which gradients are scaled down.
      ema_decay: decay of a moving average of the parameters, which is evaluated and
        handed on in their place; 0 for none.
      max_loss_ratio: a loss above this many times the median of the last 64 good steps
        (or of one nat, where that is more) is a bad step, like one that is no number; 0
        for no such limit.
      skip_bad_steps: bad steps of the run that are left out, changing nothing; one more
        stops it.
      passes: how many times the examples are drawn (by the mixture's rates) when
        packing; training goes over the packed rows as often as `steps` asks.
      temperature: language i is drawn in proportion to n_i ** (1 / temperature).
      logit_chunk: tokens whose logits a device holds at once in the loss.
      z_loss: z, where z * log(Z)^2 is added to the training loss of a token, Z being
        the sum of its exponentiated logits; PaLM's is 1e-4, and 0 turns it off.
      eval_every: steps between evaluations on the held-out rows.
      eval_rows: most held-out packed rows evaluated, as many of each language as can
        be, and one of each at least.
      checkpoint_every: steps between checkpoints.
      keep_last: newest checkpoints that are kept.
      keep_best: checkpoints with the lowest `best_metric` that are kept too.
      keep_every: checkpoints of every so many steps that are kept too; 0 for none.
      best_metric: 'eval_loss', or that of a language: 'eval_loss/fi'.
      final: 'last', or 'best': the checkpoint that is handed on, by `best_metric`.
      log_every: steps between lines of metrics.
      profile_from: first step that is traced by the profiler, from 1; 0 for none.
      profile_steps: steps that are traced.
      lora: adapters trained in place of the weights, if any; a scope's are its own.
    """

    length: int = 2048
    global_batch: int = 32
    microbatches: int = operational(1)
    steps: int = 1000
    learning_rate: float = 1e-5
    warmup_steps: int = 30
    final_lr_share: float = 0.1
    weight_decay: float = 0.1
    optimizer: str = "adamw"
    b1: float = 0.9
    b2: float = 0.95
    mu_dtype: str = "float32"
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    max_loss_ratio: float = 3.0
    skip_bad_steps: int = operational(0)
    passes: float = 1.0
    temperature: float = 2.0
    logit_chunk: int = operational(1024)
    z_loss: float = 0.0
    eval_every: int = 100
    eval_rows: int = 256
    checkpoint_every: int = 100
    keep_last: int = operational(2)
    keep_best: int = operational(0)
    keep_every: int = operational(0)
    best_metric: str = "eval_loss"
    final: str = "last"
    log_every: int = operational(10)
    profile_from: int = operational(0)
    profile_steps: int = operational(3)
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "length", "global_batch", "microbatches", "steps")
        positive(self, "learning_rate")
        positive(self, "clip_norm", "passes", "temperature", "logit_chunk")
        positive(self, "eval_every", "eval_rows", "checkpoint_every", "log_every")
        positive(self, "keep_last", "profile_steps")
        not_negative(self, "max_loss_ratio", "skip_bad_steps", "profile_from")
        not_negative(self, "keep_best", "keep_every", "z_loss")
        not_negative(self, "warmup_steps", "weight_decay")
        share(self, "final_lr_share")
        decay(self, "b1", "b2", "ema_decay")
        one_of(self, "optimizer", OPTIMIZERS)
        one_of(self, "mu_dtype", ("float32", "bfloat16"))
        one_of(self, "final", ("last", "best"))
        if 0 < self.max_loss_ratio <= 1:
            raise UserError(
                f"TrainConfig.max_loss_ratio = {self.max_loss_ratio:g}; expected more "
                "than 1, or 0 for no limit."
            )
        if self.compares_checkpoints and self.checkpoint_every % self.eval_every:
            raise UserError(
                f"TrainConfig.checkpoint_every = {self.checkpoint_every} is not a "
                f"multiple of eval_every = {self.eval_every}: with keep_best, or final "
                "= 'best', every checkpoint needs an evaluation."
            )
        if self.global_batch % self.microbatches:
            raise UserError(
                f"TrainConfig.global_batch = {self.global_batch} is not a multiple of "
                f"microbatches = {self.microbatches}."
            )

    def check_precision(self, param_dtype: str) -> None:
        """Raises UserError where all weights are trained, and kept too coarsely for it.

        For most weights an update is below half the distance to the next bfloat16
        number, and would be rounded away.
        """
        if param_dtype != "float32" and not self.lora.rank:
            raise UserError(
                f"ModelConfig.param_dtype = {param_dtype!r} is too coarse for weights "
                "that are trained: most updates would be rounded away. Set it to "
                "'float32', or train adapters (LoraConfig.rank above 0)."
            )

    @property
    def microbatch_rows(self) -> int:
        """Packed rows, over all devices, that are worked on at once."""
        return self.global_batch // self.microbatches

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """What is operational where the last is handed on: when one is written."""
        when = ("eval_every", "eval_rows", "checkpoint_every")
        return () if self.final == "best" else when

    @property
    def compares_checkpoints(self) -> bool:
        """Whether the best checkpoint is kept."""
        return self.keep_best > 0 or self.final == "best"
