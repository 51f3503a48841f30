"""Early-bird tickets inside the jobs: search in a run, draw, keep the ticket in a file, train or apply it."""
