"""The eight-emotions data set as a `datasets` builder, which writes to the cache instead of a folder."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import pandas
import pyarrow

from hf_ser.corpora import CORPORA, EIGHT_EMOTIONS_CORPORA, discover
from hf_ser.dataset.collection import collect
from hf_ser.dataset.layout import EIGHT_EMOTIONS, tables
from hf_ser.dataset.votes import find_votes, read_votes
from hf_ser.errors import InputError


@dataclass
class EightEmotionsConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """The corpora to read where they are present; `label_scheme` and `votes` as in `build_dataset`."""

    corpora: tuple[str, ...] = EIGHT_EMOTIONS_CORPORA
    label_scheme: str = "intended"
    votes: str | None = None

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """Return a cache name that changes with the files: a folder with one more clip is another data set."""
        named: str = super().create_config_id(config_kwargs, custom_features)
        if not self.data_dir:
            return named
        seen = hashlib.sha256()
        for path, _ in discover(self.data_dir).found:
            status = path.stat()
            seen.update(f"{path}:{status.st_size}:{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        return f"{named}-{seen.hexdigest()[:16]}"


class EightEmotions(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """The corpora in a folder with one set of columns, as one split `train` (see `hf_ser.dataset.splits`).

    It yields Arrow tables with the bytes of the files, so that neither torchcodec nor FFmpeg is needed.
    """

    BUILDER_CONFIG_CLASS = EightEmotionsConfig
    BUILDER_CONFIGS = (
        EightEmotionsConfig(name="all", description="all corpora in the folder"),
        *(
            EightEmotionsConfig(name=name, description=CORPORA[name].title, corpora=(name,))
            for name in EIGHT_EMOTIONS_CORPORA
        ),
    )
    DEFAULT_CONFIG_NAME = "all"

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="Acted emotional speech of four corpora under eight labels.",
            features=EIGHT_EMOTIONS,
            citation="\n\n".join(CORPORA[name].citation for name in self.config.corpora),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        folder = self.config.data_dir
        if not folder:
            raise InputError("the builder has no data_dir; give the folder that contains the corpora")
        present = {clip.corpus for _, clip in discover(folder).found}
        wanted = [name for name in self.config.corpora if name in present] or list(self.config.corpora)
        table = self.config.votes or find_votes(folder)
        votes = read_votes(table) if table and "crema_d" in wanted else None
        collection = collect(dict.fromkeys(wanted, folder), label_scheme=self.config.label_scheme, votes=votes)
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs={"clips": collection.clips})]

    def _generate_tables(self, clips: pandas.DataFrame) -> Iterator[tuple[int, pyarrow.Table]]:
        yield from enumerate(tables(clips))
