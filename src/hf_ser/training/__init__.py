"""The main job: fine-tune, evaluate and document a model."""
