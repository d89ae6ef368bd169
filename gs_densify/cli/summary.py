"""Scores as one line of text."""

from gs_densify.results import Scores

_UNITS = {"psnr": ("PSNR", "{:.2f} dB"), "ssim": ("SSIM", "{:.4f}")}


def scores_line(scores: Scores, unavailable: dict[str, str]) -> str:
    """PSNR, SSIM and LPIPS; why one that was asked for is missing."""
    parts = []
    for name in ("psnr", "ssim", "lpips_alex", "lpips_vgg", "lpips_vgg_01"):
        label, form = _UNITS.get(name, (name, "{:.4f}"))
        value = getattr(scores, name)
        if value is not None:
            parts.append(f"{label} {form.format(value)}")
        elif unavailable.get(name) != "not asked for":
            parts.append(f"{label} not computed: {unavailable.get(name)}")
    return "; ".join(parts)
