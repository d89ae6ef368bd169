"""Operations on images that the loss, scores and metrics share."""
