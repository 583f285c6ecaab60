"""Convolution as an implicit matrix product; see `library`."""
