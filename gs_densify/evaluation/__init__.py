"""PSNR, SSIM and LPIPS of held-out views."""
