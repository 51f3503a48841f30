"""From files to batches: readers, tokenizer, shards, sampler, masking, tasks, metrics. Import the module you need."""

__all__: list[str] = []
