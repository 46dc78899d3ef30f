"""Model and data set by Hub id, from a loopback Hub, in a process that has only the Hub."""

import json

CODE = """
import json, sys
from hf_ser import InputError, finetune, load, training_arguments

arguments = training_arguments("lora_qkv", "out", max_steps=2, use_cpu=True, disable_tqdm=True)
result = finetune(
    "alice/encoder", "alice/toy", recipe="lora_qkv", output_dir="out", args=arguments
)
model = result.run["model"]
try:
    finetune("alice/encoder", "alice/toy", output_dir="other", revision="no-such-branch")
except InputError as error:
    refused = str(error)
print(json.dumps({"revision": model["revision"], "local": model["local"], "uar": result.report["uar"],
                  "labels": load("out").labels, "card": (result.output_dir / "README.md").read_text(),
                  "refused": refused, "adapter": json.loads((result.output_dir / "adapter_config.json").read_text())}))
"""


def test_finetune_by_hub_ids(hub, toy, encoder, tmp_path):
    data = tmp_path / "data"
    for part, rows in toy.items():
        # As `push_to_hub` stores audio: the bytes of the file, in Parquet.
        from datasets.table import embed_table_storage

        embedded = rows.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
        embedded.to_parquet(str(data / f"{part}-00000-of-00001.parquet"))
    hub.create_from_folder("alice/toy", data, kind="dataset")
    hub.create_from_folder("alice/encoder", encoder())
    answer = json.loads(hub.run(CODE, cwd=tmp_path).strip().splitlines()[-1])
    assert answer["revision"] == hub.commits("alice/encoder")[0].id
    assert answer["adapter"]["revision"] == answer["revision"]
    assert answer["adapter"]["base_model_name_or_path"] == "alice/encoder"
    assert answer["local"] is False
    assert "base_model: alice/encoder" in answer["card"]
    assert "no-such-branch" in answer["refused"]
    assert len(answer["labels"]) == 8
