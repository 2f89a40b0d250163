"""What an engine did with its time: tokens, waste, and how full the slots were."""

import dataclasses


@dataclasses.dataclass
class Usage:
    """Counts of an engine since it was made.

    Attributes:
      rows: rows continued.
      prompt_tokens: tokens of their prompts, each prompt once.
      read_tokens: tokens that prefill read: all of a prompt but its last.
      read_columns: columns that prefill computed for them, padding included.
      new_tokens: tokens generated, stop tokens included.
      cut_tokens: generated tokens behind a stop string, thrown away.
      steps: tokens that every slot was given time for.
      slot_steps: the same times the slots.
      live_slot_steps: those of them in which a slot had a row.
      looks: times that the host looked at the slots.
      programs: compiled programs, by what they do.
    """

    rows: int = 0
    prompt_tokens: int = 0
    read_tokens: int = 0
    read_columns: int = 0
    new_tokens: int = 0
    cut_tokens: int = 0
    steps: int = 0
    slot_steps: int = 0
    live_slot_steps: int = 0
    looks: int = 0
    programs: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def padding_waste(self) -> float:
        """Share of prefill's columns that hold no token of a prompt."""
        return 1 - self.read_tokens / self.read_columns if self.read_columns else 0.0

    @property
    def occupancy(self) -> float:
        """Share of the slots' time in which they had a row."""
        return self.live_slot_steps / self.slot_steps if self.slot_steps else 0.0

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.rows} rows, {self.prompt_tokens} prompt tokens ("
            f"{self.padding_waste:.1%} padding in prefill), {self.new_tokens} new "
            f"tokens in {self.steps} steps ({self.occupancy:.1%} of the slots busy), "
            f"{self.looks} looks of the host, {sum(self.programs.values())} programs "
            "compiled"
        )
