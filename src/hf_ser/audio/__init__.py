"""From a stored clip to the tensors an encoder reads: decode, augment, segment, collate."""
