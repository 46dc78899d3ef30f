"""Pushes while training goes on: one at a time, the newest save first, and no failure reaches the training."""

import logging
import threading

import pytest

from hf_ser.errors import InputError
from hf_ser.hub import live
from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.hub.short_card import render_short_card

RUN = {"model": {"name": "me/encoder", "local": False, "saved": "checkpoint"}, "labels": ["calm", "sad"]}


class FakeHub:
    """Takes pushes as `push_files` does, and lets each through when the test says so."""

    def __init__(self):
        self.pushed = []
        self.under_way = 0
        self.most = 0
        self.gate = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.errors = []

    def __call__(self, repo_id, files, **options):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.arrived.release()
        assert self.gate.acquire(timeout=20)
        self.under_way -= 1
        if self.errors:
            raise self.errors.pop(0)
        contents = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in files.items()}
        self.pushed.append((options["message"], contents, options["stale"]))


@pytest.fixture
def fake(monkeypatch):
    hub = FakeHub()
    monkeypatch.setattr(live, "push_files", hub)
    return hub


def save(pushes, folder, step):
    """Save as training does, and remove the save at once, as its limit on checkpoints does."""
    file = folder / f"weights-{step}"
    file.write_bytes(b"weights of %d" % step)
    pushes.save({"model.safetensors": file, "config.json": b"{}"}, {"step": step, "epoch": 1.0, "validation_uar": 0.5})
    file.unlink()


def test_of_the_saves_that_wait_the_newest_is_pushed(fake, tmp_path):
    pushes = live.LivePush("me/model", RUN, tmp_path)
    save(pushes, tmp_path, 1)
    fake.arrived.acquire()
    for step in (2, 3, 4):
        save(pushes, tmp_path, step)
    fake.gate.release()
    fake.arrived.acquire()
    fake.gate.release()
    pushes.close(finished=False)
    assert [message for message, _, _ in fake.pushed] == [f"Training in progress, step {step}" for step in (1, 4)]
    assert [contents["model.safetensors"] for _, contents, _ in fake.pushed] == [b"weights of 1", b"weights of 4"]
    assert fake.most == 1
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_that_training_goes_on_and_gives_no_test_figure(fake, tmp_path):
    pushes = live.LivePush("me/model", RUN, tmp_path)
    save(pushes, tmp_path, 1200)
    fake.gate.release()
    pushes.close(finished=False)
    _, contents, stale = fake.pushed[0]
    card = contents["README.md"].decode()
    assert contents[GENERATED_CARD] == contents["README.md"]
    assert (
        "**Training is in progress.** This is the checkpoint of step 1,200 (epoch 1.00), with a UAR of 50.0 %" in card
    )
    assert "The test part has not been read yet." in card
    assert "model-index" not in card
    # The records of a finished run would tell of another model.
    assert stale("metrics.json")
    assert stale("adapter_model.safetensors")
    assert stale("last-checkpoint/best/model.safetensors")
    assert not stale("notes.md")


def test_a_failure_is_one_warning_and_the_next_save_tries_again(fake, tmp_path, caplog):
    fake.errors = [InputError("nothing was pushed to 'me/model': try later"), ZeroDivisionError("a bug")]
    pushes = live.LivePush("me/model", RUN, tmp_path)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3):
            save(pushes, tmp_path, step)
            fake.arrived.acquire()
            fake.gate.release()
        pushes.close(finished=False)
    assert [record.getMessage() for record in caplog.records] == [
        "step 1 is not on the Hub, and training goes on: nothing was pushed to 'me/model': try later",
        "step 2 is not on the Hub, and training goes on: ZeroDivisionError: a bug",
    ]
    assert [message for message, _, _ in fake.pushed] == ["Training in progress, step 3"]
    assert list(tmp_path.iterdir()) == []


def test_in_the_end_what_is_under_way_ends_and_what_waits_is_left_to_the_finished_model(fake, tmp_path):
    pushes = live.LivePush("me/model", RUN, tmp_path)
    save(pushes, tmp_path, 1)
    fake.arrived.acquire()
    save(pushes, tmp_path, 2)
    closing = threading.Thread(target=pushes.close, kwargs={"finished": True})
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    fake.gate.release()
    closing.join(20)
    assert [message for message, _, _ in fake.pushed] == ["Training in progress, step 1"]
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_hangs_does_not_keep_the_process(fake, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(live, "_PATIENCE_SECONDS", {True: 0.05, False: 0.05})
    pushes = live.LivePush("me/model", RUN, tmp_path)
    save(pushes, tmp_path, 1)
    fake.arrived.acquire()
    pushes.close(finished=True)
    assert "a push to 'me/model' hangs; it is no longer waited for" in caplog.text
    fake.gate.release()


def test_a_short_card_of_little_that_is_known():
    card = render_short_card({"model": {"architecture": "HubertForSequenceClassification"}}, repo_id="me/x")
    assert card.startswith("---\npipeline_tag: audio-classification\n")
    assert "Nothing is known of this model's quality" in card
    assert "## Labels" not in card
    progress = {"step": 3, "epoch": 0.5, "validation_uar": None}
    assert "step 3 (epoch 0.50). The test part" in render_short_card(RUN, repo_id="me/x", progress=progress)


def test_what_answers_otherwise_than_the_model_in_training_is_not_pushed(fake, tmp_path, monkeypatch, caplog):
    proved = []

    def ask(folder, token):
        proved.append(sorted(path.name for path in folder.iterdir()))
        return {"labels": RUN["labels"], "logits": [[0.1, 0.2], [0.3, 0.4]]}

    monkeypatch.setattr("hf_ser.hub.proof._ask", ask)
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    for right in (True, False):
        pushes = live.LivePush("me/model", RUN, tmp_path)
        answers = [[0.1, 0.2], [0.3, 0.4 if right else 0.5]]
        files = {"model.safetensors": file, "config.json": b"{}", "last-checkpoint/optimizer.safetensors": b""}
        with caplog.at_level(logging.WARNING):
            pushes.save(files, {"step": 7, "epoch": 1.0, "validation_uar": 0.5}, lambda answers=answers: answers)
            fake.gate.release()
            pushes.close(finished=False)
    assert len(fake.pushed) == 1
    assert proved == [["config.json", "model.safetensors"]] * 2
    assert "step 7 is not on the Hub" in caplog.text
    assert "logits differ" in caplog.text
