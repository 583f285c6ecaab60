"""The data of the programs: handwritten digits, in three sets, as the programs of the era had it.

    program.py                            scikit-learn's, 8 x 8
    program.py path/of/mnist [images]     MNIST's, 28 x 28, so many of them to train with
"""

import sys

import numpy
import theano
import theano.tensor as T

from examples import datasets


def load_arrays():
    """[(train_x, train_y), (valid_x, valid_y), (test_x, test_y)] and the side of the images."""
    path, limit = (sys.argv[1:] + [None, None])[:2]
    found = datasets.load(path, dtype=theano.config.floatX)
    n = len(found.train) if limit is None else int(limit)
    sets = [(part.images[:n], part.labels[:n]) for part in (found.train, found.valid, found.test)]
    return sets, found.size[0]


def load_data():
    """The three sets as shared variables."""
    def shared_dataset(data_x, data_y, borrow=True):
        shared_x = theano.shared(numpy.asarray(data_x, dtype=theano.config.floatX), borrow=borrow)
        shared_y = theano.shared(numpy.asarray(data_y, dtype=theano.config.floatX), borrow=borrow)
        return shared_x, T.cast(shared_y, 'int32')

    return [shared_dataset(*part) for part in load_arrays()[0]]
