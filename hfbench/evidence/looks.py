"""Which models need more seeds: the rule by which a comparison goes on from look to look."""

from hfbench.evidence.compared import Standing


def still_open(standing: Standing) -> set[str]:
    """Names of the models about which something that was asked is not decided yet.

    With questions, those of each pair that cannot be distinguished (and are not shown to be
    equivalent); without, those that may be the best, if they are more than one.
    """
    if standing.questions:
        undecided = [p for p in standing.questions if p.difference.verdict == "undecided"]
        return {model.name for pair in undecided for model in (pair.first, pair.second)}
    return {*standing.best} if len(standing.best) > 1 else set()
