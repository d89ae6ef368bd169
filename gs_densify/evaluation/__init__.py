"""PSNR, SSIM and LPIPS of held-out views."""

from gs_densify.evaluation.evaluate import Evaluation, Scoring, evaluate_views, mean_scores
from gs_densify.evaluation.lpips import VARIANTS as LPIPS_VARIANTS
from gs_densify.evaluation.lpips import Lpips, lpips_record
from gs_densify.evaluation.lpips_weights import LpipsUnavailable
from gs_densify.evaluation.metrics import MAX_PSNR, MetricUnavailable, psnr, quantize
from gs_densify.evaluation.pictures import picture_name, picture_writer, save_comparison
from gs_densify.evaluation.ssim import ssim, ssim_implementation

__all__ = [
    "LPIPS_VARIANTS",
    "MAX_PSNR",
    "Evaluation",
    "Lpips",
    "LpipsUnavailable",
    "MetricUnavailable",
    "Scoring",
    "evaluate_views",
    "lpips_record",
    "mean_scores",
    "picture_name",
    "picture_writer",
    "psnr",
    "quantize",
    "save_comparison",
    "ssim",
    "ssim_implementation",
]
