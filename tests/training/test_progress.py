"""What a training has done, over several pieces and over an interruption."""

from gs_densify.training.progress import Progress


def test_times_add_up_and_go_on() -> None:
    progress = Progress(step=3, peak_gaussians=7)
    progress.took(2.0, None)
    assert (progress.train_seconds, progress.photo_seconds) == (2.0, None)
    progress.took(1.0, 0.25)
    progress.took(1.0, 0.5)
    assert (progress.train_seconds, progress.photo_seconds) == (4.0, 0.75)
    progress.first_step_at = 1.0
    again = Progress.of(progress.state_dict())
    assert again == Progress(3, 4.0, 0.75, 7), "when a step was done is of one process"
