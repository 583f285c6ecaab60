"""The version of Theano whose names and habits these are."""

__version__ = version = "1.0.5"
__api_version__ = 1
