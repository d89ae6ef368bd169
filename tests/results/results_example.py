"""A results file with every field filled in."""

from gs_densify.results import (
    Conditions,
    Counts,
    EvaluationRecord,
    Hardware,
    ImageSize,
    LpipsRecord,
    PeakMemory,
    Protocol,
    Results,
    Scores,
    StrategyRecord,
    WallTime,
)


def example_results() -> Results:
    scores = Scores(psnr=27.123456789012345, psnr_float=27.2, ssim=0.1 + 0.2, lpips_vgg=0.25)
    return Results(
        scene="garden",
        strategy=StrategyRecord(name="adc", options={"grow_gradient": 2e-4, "reset": None}),
        seed=42,
        steps=30_000,
        config={"lr": 1.6e-4, "nested": {"list": [1, "two", None, True]}},
        protocol=Protocol(
            name="default",
            scene_name="garden",
            image_dir="images_4",
            image_source="official",
            resize_filter=None,
            undistorted=False,
            masks=False,
            downscale=4,
            sizes=[ImageSize(width=1297, height=840, count=185)],
            test_every=8,
            split_rule="every 8th image of the names in sorted order, starting with the first",
            test_images=["a/DSC07956.JPG", "ü.png"],
            n_train=161,
            n_test=2,
            quantisation="uint8-round",
            psnr="10 log10(1 / MSE)",
            ssim_borders="reflect",
            ssim="gs_densify",
            lpips={"lpips_vgg": LpipsRecord(network="vgg16", input_range="[-1, 1]", package="x")},
            background=(0.0, 0.5, 1.0),
            conditions=Conditions(
                seed=42,
                steps=30_000,
                antialiased=False,
                gpu=None,
                versions={"torch": "2.13.0", "cuda": None},
            ),
        ),
        scores=scores,
        unavailable={"lpips_alex": "no weights", "lpips_vgg_01": "not asked for"},
        evaluations=[
            EvaluationRecord(step=7000, scores=scores, num_gaussians=5, train_seconds=1.5)
        ],
        counts=Counts(initial=3, final=5, peak=6),
        wall_time=WallTime(load=1.0, train=2.0, evaluate=3.0, total=6.0),
        peak_memory=PeakMemory(device=None, host=123),
        versions={"torch": "2.13.0", "cuda": None},
        hardware=Hardware(device="cpu", gpu=None, cpu_count=2, platform="Linux"),
        created="2025-01-01T00:00:00+00:00",
        command=["gs-train", "--scene", "garden"],
    )
