"""Operations on images [B, H, W, 3] in [0, 1] that the loss, scores and metrics share."""
