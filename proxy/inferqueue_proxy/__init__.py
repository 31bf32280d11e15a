"""The HTTP side of inferqueue: takes jobs, answers with ids, states and results."""
