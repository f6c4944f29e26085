"""What is stated, and the nouns: counts, losses, the problem, geometry, solution, comparison; arguments and files."""
