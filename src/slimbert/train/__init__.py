"""Training as a loop that one iterates: objectives, optimizer, loop, evaluation, and what keeps a run safe on disk."""
