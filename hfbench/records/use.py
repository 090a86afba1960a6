"""What it costs to ask a finished model, as its record tells it."""

from pydantic import Field, NonNegativeInt, PositiveInt

from hfbench.records.parts import RecordPart


class UseFacts(RecordPart):
    """From text to answer, on evaluation texts, with its weights in memory."""

    latency_p50: float = Field(description="Seconds for one text alone: the median.")
    latency_p95: float = Field(description="The same of the slowest in twenty.")
    asked: NonNegativeInt = Field(description="Texts that were asked one by one.")
    texts_per_second: float = Field(description="At the best of a few batch sizes.")
    batch: PositiveInt = Field(description="That batch size.")
    disk_bytes: NonNegativeInt = Field(
        description="Of its weights as safetensors files hold them; of a control, and of what a "
        "probe has beside its network, of its pickle."
    )
    memory_bytes: NonNegativeInt = Field(
        description="That, and what was used beside it at most while it answered; see memory_of."
    )
    memory_of: str = Field(
        description="'device allocations', or 'growth of the process', which sees nothing of what "
        "the process had at hand already."
    )
    device: str = Field(description="Name of the device.")
    threads: PositiveInt = Field(description="Of torch, on a CPU.")
    alone: bool = Field(
        description="False: it was measured in a worker, beside which other cells may have run."
    )
