"""What a worker counts of its own work."""

from inferqueue_worker.activity import Activity


def test_counts_jobs_and_the_time_for_which_they_were_held() -> None:
    activity = Activity()

    activity.begin(10.0)
    activity.begin(11.0)
    activity.end(3, began=10.0, now=14.0)
    activity.end(1, began=11.0, now=15.0)

    assert (activity.jobs, activity.busy_seconds) == (4, 8.0)


def test_tells_how_long_no_runner_has_taken_or_ended_anything() -> None:
    activity = Activity()

    activity.begin(10.0)
    assert activity.since_turn(17.0) == 7
    activity.begin(18.0)
    assert activity.since_turn(20.0) == 2
    activity.end(1, began=10.0, now=21.0)
    assert activity.since_turn(22.0) == 1
