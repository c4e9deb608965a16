"""Programs that use the house: train, convert, measure. Nothing imports them but tests."""
