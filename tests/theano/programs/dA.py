"""A denoising autoencoder with tied weights."""

import numpy
import theano
import theano.tensor as T
from digits import load_data
from theano.tensor.shared_randomstreams import RandomStreams


class dA(object):
    def __init__(self, numpy_rng, theano_rng=None, input=None, n_visible=64, n_hidden=50,
                 W=None, bhid=None, bvis=None):
        self.n_visible, self.n_hidden = n_visible, n_hidden
        if not theano_rng:
            theano_rng = RandomStreams(numpy_rng.randint(2 ** 30))
        if not W:
            bound = 4 * numpy.sqrt(6. / (n_hidden + n_visible))
            initial_W = numpy.asarray(
                numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden)),
                dtype=theano.config.floatX)
            W = theano.shared(value=initial_W, name='W', borrow=True)
        if not bvis:
            bvis = theano.shared(value=numpy.zeros(n_visible, dtype=theano.config.floatX),
                                 borrow=True)
        if not bhid:
            bhid = theano.shared(value=numpy.zeros(n_hidden, dtype=theano.config.floatX),
                                 name='b', borrow=True)
        self.W, self.b, self.b_prime = W, bhid, bvis
        self.W_prime = self.W.T
        self.theano_rng = theano_rng
        self.x = T.dmatrix(name='input') if input is None else input
        self.params = [self.W, self.b, self.b_prime]

    def get_corrupted_input(self, input, corruption_level):
        return self.theano_rng.binomial(size=input.shape, n=1, p=1 - corruption_level,
                                        dtype=theano.config.floatX) * input

    def get_hidden_values(self, input):
        return T.nnet.sigmoid(T.dot(input, self.W) + self.b)

    def get_reconstructed_input(self, hidden):
        return T.nnet.sigmoid(T.dot(hidden, self.W_prime) + self.b_prime)

    def get_cost_updates(self, corruption_level, learning_rate):
        tilde_x = self.get_corrupted_input(self.x, corruption_level)
        y = self.get_hidden_values(tilde_x)
        z = self.get_reconstructed_input(y)
        L = - T.sum(self.x * T.log(z) + (1 - self.x) * T.log(1 - z), axis=1)
        cost = T.mean(L)
        gparams = T.grad(cost, self.params)
        updates = [(param, param - learning_rate * gparam)
                   for param, gparam in zip(self.params, gparams)]
        return (cost, updates)


def sigmoid(a):
    return 1 / (1 + numpy.exp(-a))


def twin(x, W, b, c, learning_rate):
    """One step without corruption, in NumPy."""
    y = sigmoid(x.dot(W) + b)
    z = sigmoid(y.dot(W.T) + c)
    cost = -(x * numpy.log(z) + (1 - x) * numpy.log(1 - z)).sum(axis=1).mean()
    dz = (z - x) / len(x)
    dy = dz.dot(W) * y * (1 - y)
    return cost, [W - learning_rate * (x.T.dot(dy) + dz.T.dot(y)),
                  b - learning_rate * dy.sum(axis=0), c - learning_rate * dz.sum(axis=0)]


def train(corruption, learning_rate=0.3, epochs=12, batch_size=20):
    train_x = load_data()[0][0]
    n_images, n_pixels = train_x.get_value(borrow=True).shape
    n_batches = n_images // batch_size
    index, x = T.lscalar(), T.matrix('x')
    rng = numpy.random.RandomState(123)
    da = dA(numpy_rng=rng, theano_rng=RandomStreams(rng.randint(2 ** 30)), input=x,
            n_visible=n_pixels)
    start = [p.get_value() for p in da.params]
    cost, updates = da.get_cost_updates(corruption_level=corruption, learning_rate=learning_rate)
    train_da = theano.function(
        [index], cost, updates=updates,
        givens={x: train_x[index * batch_size: (index + 1) * batch_size]})
    if corruption == 0.:
        images = train_x.get_value()[:batch_size]
        expected, params = twin(images, *start, learning_rate=learning_rate)
        assert abs(train_da(0) - expected) < 1e-9 * expected
        for p, value in zip(da.params, params):
            assert numpy.allclose(p.get_value(), value, rtol=1e-9, atol=1e-12), p
    means = [numpy.mean([train_da(i) for i in range(n_batches)]) for _ in range(epochs)]
    print('corruption %d %%: cost %.2f, then %.2f' % (100 * corruption, means[0], means[-1]))
    return means, n_pixels


if __name__ == '__main__':
    (clean, n_pixels), (noisy, _) = train(0.), train(0.3)
    most, (low, high) = {64: (16, (18, 20)), 784: (102, (95, 106))}[n_pixels]
    assert clean[-1] < most, clean
    assert low < noisy[-1] < high and noisy[-1] < noisy[0] - 3, noisy
