"""How helpers' work is gathered before an evaluator sees a case."""
