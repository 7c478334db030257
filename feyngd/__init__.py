"""feyngd."""
