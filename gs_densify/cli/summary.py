"""Scores as text."""

from gs_densify.results import Scores

_SHOWN = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "lpips_alex": ("LPIPS (alex)", "{:.4f}"),
    "lpips_vgg": ("LPIPS (vgg)", "{:.4f}"),
    "lpips_vgg_01": ("LPIPS (vgg, inputs in [0,1])", "{:.4f}"),
}


def scores_text(scores: Scores, unavailable: dict[str, str]) -> str:
    """One line of scores, and one for each score that was asked for and cannot be had."""
    known = [
        f"{label} {form.format(getattr(scores, name))}"
        for name, (label, form) in _SHOWN.items()
        if getattr(scores, name) is not None
    ]
    missing = [
        f"{_SHOWN[name][0]} was not computed: {reason}"
        for name, reason in unavailable.items()
        if reason != "not asked for"
    ]
    return "\n".join(["held-out views: " + ", ".join(known), *missing])
