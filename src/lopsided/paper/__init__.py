"""The paper's figures and what it leaves open: plans, judges, verdicts."""
