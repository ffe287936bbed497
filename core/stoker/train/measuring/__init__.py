"""What a step of the real loop holds in memory, tensor by tensor: the truth that plans are judged by."""
