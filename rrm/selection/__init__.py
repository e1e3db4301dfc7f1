"""Which items are put before the evaluator."""
