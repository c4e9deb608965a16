"""Vision towers: the patches of images → the vectors that stand for them in a prompt."""
