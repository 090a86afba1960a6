"""The engines: how the cells of a comparison are run. To add one: a class as `engine.Engine`."""

from typing import Literal

from hfbench.execution.engines.engine import Engine
from hfbench.execution.engines.ray import RayCluster
from hfbench.execution.engines.serial import Serial
from hfbench.execution.engines.workers import Workers
from hfbench.execution.jobs import choose_jobs
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell

EngineName = Literal["local", "ray"]


def choose_engine(
    engine: EngineName | Engine, jobs: int | None, cells: list[Cell], inputs: AllInputs
) -> Engine:
    """The engine of this name: a given one as it is; of "local", processes where they pay.

    Raises:
        UserError: see `jobs.choose_jobs`.
    """
    if engine == "ray":
        return RayCluster()
    if engine != "local":
        return engine
    jobs = choose_jobs(jobs, cells, inputs)
    return Serial() if jobs == 1 else Workers(jobs)


def places_of(engine: Engine) -> int:
    """Cells that it runs side by side, at most; 1 where only the engine knows."""
    return engine.jobs if isinstance(engine, Workers) else 1


__all__ = ["Engine", "EngineName", "RayCluster", "Serial", "Workers", "choose_engine", "places_of"]
