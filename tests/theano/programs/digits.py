"""The data of the programs: handwritten digits, in three sets, as the programs of the era had it."""

import numpy
import theano
import theano.tensor as T

from examples import datasets


def load_data(limit=None):
    """[(train_x, train_y), (valid_x, valid_y), (test_x, test_y)] as shared variables."""
    found = datasets.load(dtype=theano.config.floatX)

    def shared_dataset(examples, borrow=True):
        shared_x = theano.shared(numpy.asarray(examples.images[:limit],
                                               dtype=theano.config.floatX), borrow=borrow)
        shared_y = theano.shared(numpy.asarray(examples.labels[:limit],
                                               dtype=theano.config.floatX), borrow=borrow)
        return shared_x, T.cast(shared_y, 'int32')

    return [shared_dataset(part) for part in (found.train, found.valid, found.test)]
