"""Every published name, as the list of the originals that the package ships has it."""

import pytest

from hf_ser.corpora import CORPORA
from hf_ser.corpora.originals import originals


@pytest.fixture(scope="session")
def published_names() -> dict[str, list[str]]:
    """The name of every clip of each corpus."""
    names = [clip_id.split("/") for clip_id in originals().by_clip_id]
    return {corpus: [f"{name}.wav" for of, name in names if of == corpus] for corpus in CORPORA}
