"""What training saves, pushed while it goes on: in a thread of its own, which it neither waits for nor fails by."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hf_ser.errors import InputError
from hf_ser.hub.artefact import EXACT, is_ours, is_replaced, link_or_copy
from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.hub.commits import CARD, Content, push_files
from hf_ser.hub.front_matter import OWNED
from hf_ser.hub.proof import prove
from hf_ser.hub.short_card import render_short_card

__all__ = ["LivePush"]

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = {True: 600.0, False: 60.0}
"""For a push that is under way when training has finished, or fails: its connection may hang."""


class LivePush:
    """Pushes saves one at a time; of those that wait meanwhile, the newest alone.

    A push that fails is told by a warning, and the next save tries again.

    Args:
        repo_id: `USER/NAME`; the repository is made, private, where it does not exist.
        run: What is known of the run, with the keys of run.json and without paths of this machine.
        workspace: A folder on the file system of the saves.
        token: Of the Hub; None takes the one that is logged in.
    """

    def __init__(self, repo_id: str, run: Mapping[str, Any], workspace: Path, *, token: str | None = None) -> None:
        self.repo_id = repo_id
        self._run = run
        self._workspace = workspace
        self._token = token
        self._change = threading.Condition()
        self._waiting: _Save | None = None
        self._ends = False
        # A daemon: a hanging connection must not keep the process.
        self._thread = threading.Thread(target=self._work, name=f"push to {repo_id}", daemon=True)
        self._thread.start()

    def save(
        self,
        files: Mapping[str, Content],
        progress: Mapping[str, Any],
        answers: Callable[[], Sequence[Sequence[float]]] | None = None,
    ) -> None:
        """Take over what was saved, at once: training may remove it next.

        Args:
            files: Path in the repository to a local file or to bytes.
            progress: `step`, `epoch` and `validation_uar` of the checkpoint.
            answers: Gives the logits of the probe that the model in training had; it is called in the background,
                and what does not give them in a fresh process is not pushed. None where there is no model.
        """
        folder = tempfile.TemporaryDirectory(prefix=".push-", dir=self._workspace)
        kept: dict[str, Content] = {}
        for number, (path, content) in enumerate(files.items()):
            if isinstance(content, Path):
                place = Path(folder.name) / str(number)
                link_or_copy(content, place)
                content = place
            kept[path] = content
        with self._change:
            replaced, self._waiting = self._waiting, _Save(folder, kept, progress, answers)
            self._change.notify()
        if replaced is not None:
            replaced.folder.cleanup()

    def close(self, *, finished: bool) -> None:
        """Let the push under way end, and take no more.

        Args:
            finished: Whether the finished model is pushed next, so that a save that waits is of no use; else it
                is pushed, too.
        """
        with self._change:
            self._ends = True
            if finished and self._waiting is not None:
                self._waiting.folder.cleanup()
                self._waiting = None
            self._change.notify()
        self._thread.join(_PATIENCE_SECONDS[finished])
        if self._thread.is_alive():
            logger.warning("a push to '%s' hangs; it is no longer waited for", self.repo_id)

    def _work(self) -> None:
        while True:
            with self._change:
                while self._waiting is None:
                    if self._ends:
                        return
                    self._change.wait()
                save, self._waiting = self._waiting, None
            try:
                self._push(save)
            except Exception as error:
                reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                logger.warning("step %d is not on the Hub, and training goes on: %s", save.progress["step"], reason)
            finally:
                save.folder.cleanup()

    def _push(self, save: _Save) -> None:
        if save.answers is not None:
            self._prove(save, save.answers())
        card = render_short_card(self._run, repo_id=self.repo_id, progress=save.progress).encode()
        push_files(
            self.repo_id,
            {**save.files, CARD: card, GENERATED_CARD: card},
            message=f"Training in progress, step {save.progress['step']}",
            token=self._token,
            owned_front_matter=OWNED,
            stale=is_replaced,
        )

    def _prove(self, save: _Save, answers: Sequence[Sequence[float]]) -> None:
        with tempfile.TemporaryDirectory(prefix=".proof-", dir=self._workspace) as staged:
            for path, content in save.files.items():
                if not is_ours(path):
                    continue
                if isinstance(content, Path):
                    link_or_copy(content, Path(staged) / path)
                else:
                    (Path(staged) / path).write_bytes(content)
            prove(Path(staged), answers, self._run["labels"], bound=EXACT, token=self._token)


class _Save:
    def __init__(
        self,
        folder: tempfile.TemporaryDirectory[str],
        files: Mapping[str, Content],
        progress: Mapping[str, Any],
        answers: Callable[[], Sequence[Sequence[float]]] | None = None,
    ) -> None:
        self.answers = answers
        self.folder = folder
        self.files = files
        self.progress = progress
