"""The operator of inferqueue: gives every queue the fewest workers that still keep its promise."""
