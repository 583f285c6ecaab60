"""Matrix products and convolutions: one tile code, with or without tensor cores."""
