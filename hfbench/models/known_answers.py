"""What architectures of transformers answered, kept between processes, lest each start asks again.

An answer holds for versions of transformers and torch, a configuration and a length. It lies in a
file of its own in the cache of huggingface_hub; without it, or if it cannot be read, the question
is asked again. Of an architecture of one's own nothing is kept: its code may change.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants
from pydantic import BaseModel, ConfigDict, ValidationError

from hfbench.errors import StorageError
from hfbench.system.files import atomic, make_folder

VERSION = 1
"""Of the questions: to be raised when one is asked otherwise."""

logger = logging.getLogger(__name__)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    about: dict[str, Any]
    fault: str | None


def fault_of(about: dict[str, Any], ask: Callable[[], str | None]) -> str | None:
    """The answer to a question: None, or what is wrong in words.

    Args:
        about: what was asked, and of whom, in words and numbers.
        ask: gives the answer where it is not known.
    """
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    about = {"question": VERSION, **versions, **about}
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    path = Path(constants.HF_HOME) / "hfbench" / "answers" / f"{name}.json"
    try:
        known = _Answer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        known = None
    if known and known.about == about:
        return known.fault
    answer = _Answer(about=about, fault=ask())
    try:
        make_folder(path.parent)
        with atomic(path) as temporary:
            temporary.write_text(answer.model_dump_json(), encoding="utf-8")
    except StorageError as error:  # it is asked again next time
        logger.debug("not kept: %s", error)
    return answer.fault
