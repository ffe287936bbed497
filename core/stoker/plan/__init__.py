"""What a run will need, take and cost, known before a GPU is paid for. Torch-free."""
