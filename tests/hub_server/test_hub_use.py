"""The Hub under the libraries that speak to it, and in the hands of a test."""

from http.client import HTTPConnection

import pytest

from hub_server import Hub
from hub_server.script import run

# --- the libraries above ---


def test_datasets_transformers_and_evaluate(hub):
    metric = (
        "import datasets\nimport evaluate\n\n\nclass Half(evaluate.Metric):\n    def _info(self):\n"
        "        features = datasets.Features({'predictions': datasets.Value('float32')})\n"
        "        return evaluate.MetricInfo(description='', citation='', features=features)\n\n"
        "    def _compute(self, predictions):\n        return {'half': sum(predictions) / 2}\n"
    )
    hub.create("alice/half", {"half.py": metric, "app.py": ""}, kind="space")
    hub.create("alice/hidden", {"rows.csv": "x\n1\n"}, kind="dataset", private=True)
    hub.create("alice/config", {"config.json": '{"model_type": "hubert", "hidden_size": 24}'}, private=True)
    code = """
import datasets, evaluate
from transformers import AutoConfig
for name, value in (("one", 1), ("two", 2)):
    part = datasets.Dataset.from_dict({"x": [value] * 5})
    datasets.DatasetDict({"train": part, "test": part.select([0])}).push_to_hub("alice/speech", name, private=True)
for name in ("one", "two"):
    loaded = datasets.load_dataset("alice/speech", name)
    seen[name] = {part: rows["x"][:] for part, rows in loaded.items()}
seen["configs"] = datasets.get_dataset_config_names("alice/speech")
seen["stream"] = [row["x"] for row in datasets.load_dataset("alice/speech", "two", split="train", streaming=True)]
seen["foreign"] = [outcome(datasets.load_dataset, id, token=sys.argv[2]) for id in ("alice/hidden", "alice/nowhere")]
seen["hidden_size"] = AutoConfig.from_pretrained("alice/config").hidden_size
seen["no config"] = outcome(AutoConfig.from_pretrained, "alice/nowhere")
seen["half"] = evaluate.load("alice/half").compute(predictions=[1.0, 2.0])
"""
    seen = run(hub, code, token=hub.token("alice"))
    for name, value in (("one", 1), ("two", 2)):
        assert seen[name] == {"train": [value] * 5, "test": [value]}
    assert seen["configs"] == ["one", "two"]
    assert seen["stream"] == [2] * 5
    assert seen["foreign"] == ["DatasetNotFoundError"] * 2
    assert seen["hidden_size"] == 24
    assert seen["no config"] == "OSError"
    assert seen["half"] == {"half": 1.5}
    assert {"one/train-00000-of-00001.parquet", "two/test-00000-of-00001.parquet"} <= set(
        hub.paths("alice/speech", kind="dataset")
    )


# --- the test's own side ---


def test_a_home_that_has_it_needs_no_network(hub, tmp_path):
    hub.create("alice/offline", {"a.txt": "kept"})
    run(hub, 'seen["a"] = content("alice/offline", "a.txt")', home=tmp_path)
    before = len(hub.requests)
    offline = run(hub, 'seen["a"] = content("alice/offline", "a.txt")', home=tmp_path, HF_HUB_OFFLINE="1")
    assert offline["a"] == b"kept".hex()
    assert len(hub.requests) == before


def test_a_client_process_cannot_leave_loopback(hub):
    code = """
    import socket
    for reach in (lambda: socket.create_connection(("192.0.2.1", 80)), lambda: socket.getaddrinfo("hf.co", 443)):
        try:
            reach()
        except AssertionError as error:
            print(error)
    """
    assert hub.run(code).splitlines() == ["a test reached for 192.0.2.1", "a test reached for hf.co"]


def test_a_failing_client_is_an_assertion(hub):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        hub.run("1 / 0")


def test_a_failure_of_the_hub_itself_is_reported(hub):
    with hub.fault("conflict", path="/api/models"):
        connection = HTTPConnection(hub.endpoint.removeprefix("http://"))
        connection.request("GET", "/api/models")
        assert connection.getresponse().status == 500
        connection.close()
    with pytest.raises(AssertionError, match="the fault 'conflict' is for"):
        hub.check()


def test_users_and_reset():
    with Hub() as hub:
        hub.add_user("carol")
        hub.create("carol/mine", {"a.txt": "x", "b.bin": b"y"})
        assert hub.token("carol") != hub.token("carol", "read")
        hub.commit("carol/mine", {"c/d.txt": b"z"}, delete=["a.txt"], message="Change", author="bob")
        assert hub.paths("carol/mine") == [".gitattributes", "b.bin", "c/d.txt"]
        newest = hub.commits("carol/mine")[0]
        assert (newest.title, newest.author) == ("Change", "bob")
        hub.reset()
        assert hub.repos() == []
        with pytest.raises(KeyError, match="carol"):
            hub.token("carol")
