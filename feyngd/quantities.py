"""The quantities that feyngd predicts, by name."""

QUANTITIES = ("test_loss", "train_loss", "gap")


SERIES = (*QUANTITIES, "displacement")
