"""From rows to batches: sources, formats, templates, the tokenised index, order, micro-batches."""
