"""What hindsight could do: the least replica-seconds with which no job waits too long, as a linear program.

In bins of `bin_seconds`, n_t workers run and u_t are started: minimize sum(n_t * bin + cold start * u_t) subject to
n_t <= n_(t-1) + u_t, n_t <= max, work done <= work arrived, and work done by t >= work that arrived by t - max_wait -
service. It knows the future and may split workers, so nothing real can do better.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from inferqueue.simulation.engine import Setting
from inferqueue.simulation.loads import Load


def optimum(load: Load, setting: Setting, bin_seconds: float = 5.0) -> float | None:
    """Return the least replica-seconds; None where even `max_replicas` cannot serve every job in time."""
    bins = int((load.duration + setting.max_wait + setting.service_seconds) / bin_seconds) + 2
    edges = np.arange(1, bins + 1) * bin_seconds
    times = np.array([time for time, _ in load.jobs])
    work = np.concatenate([[0.0], np.cumsum([service for _, service in load.jobs])])
    arrived = work[np.searchsorted(times, edges, side="left")]
    due = work[np.searchsorted(times, edges - setting.max_wait - setting.service_seconds, side="right")]
    due[-1] = work[-1]
    # Variables: n (workers), u (starts), w (work done) for each bin.
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    limits: list[float] = []

    def constrain(terms: list[tuple[int, float]], limit: float) -> None:
        for column, value in terms:
            rows.append(len(limits))
            columns.append(column)
            values.append(value)
        limits.append(limit)

    for t in range(bins):
        n, u, w = t, bins + t, 2 * bins + t
        before = [(n - 1, -1.0)] if t else []
        constrain([(n, 1.0), (u, -1.0), *before], 0.0)
        done_before = [(w - 1, -1.0)] if t else []
        constrain([(w, 1.0), *done_before, (n, -bin_seconds)], 0.0)
        constrain([(w - 1, 1.0), (w, -1.0)] if t else [(w, -1.0)], 0.0)
    cost = np.concatenate([np.full(bins, bin_seconds), np.full(bins, setting.cold_start), np.zeros(bins)])
    bounds = [(0, setting.max_replicas)] * bins + [(0, None)] * bins + list(zip(due, arrived, strict=True))
    matrix = coo_array((values, (rows, columns)), shape=(len(limits), 3 * bins)).tocsr()
    solution = linprog(cost, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs")
    return float(solution.fun) if solution.success else None
