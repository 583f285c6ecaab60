"""A contractive autoencoder: the norm of the Jacobian of the hidden units is part of the cost."""

import numpy
import theano
import theano.tensor as T
from digits import load_data


class cA(object):
    def __init__(self, numpy_rng, input, n_visible=64, n_hidden=30, n_batchsize=10):
        self.n_visible, self.n_hidden, self.n_batchsize = n_visible, n_hidden, n_batchsize
        bound = 4 * numpy.sqrt(6. / (n_hidden + n_visible))
        initial_W = numpy.asarray(
            numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden)),
            dtype=theano.config.floatX)
        self.W = theano.shared(value=initial_W, name='W', borrow=True)
        self.b_prime = theano.shared(numpy.zeros(n_visible, dtype=theano.config.floatX))
        self.b = theano.shared(numpy.zeros(n_hidden, dtype=theano.config.floatX), name='b')
        self.W_prime = self.W.T
        self.x = input
        self.params = [self.W, self.b, self.b_prime]

    def get_hidden_values(self, input):
        return T.nnet.sigmoid(T.dot(input, self.W) + self.b)

    def get_jacobian(self, hidden, W):
        return T.reshape(hidden * (1 - hidden), (self.n_batchsize, 1, self.n_hidden)) * T.reshape(
            W, (1, self.n_visible, self.n_hidden))

    def get_reconstructed_input(self, hidden):
        return T.nnet.sigmoid(T.dot(hidden, self.W_prime) + self.b_prime)

    def get_cost_updates(self, contraction_level, learning_rate):
        y = self.get_hidden_values(self.x)
        z = self.get_reconstructed_input(y)
        J = self.get_jacobian(y, self.W)
        self.L_rec = - T.sum(self.x * T.log(z) + (1 - self.x) * T.log(1 - z), axis=1)
        self.L_jacob = T.sum(J ** 2) / self.n_batchsize
        cost = T.mean(self.L_rec) + contraction_level * T.mean(self.L_jacob)
        gparams = T.grad(cost, self.params)
        updates = [(param, param - learning_rate * gparam)
                   for param, gparam in zip(self.params, gparams)]
        return (cost, updates)


batch_size = 10
train_x = load_data()[0][0]
n_images, n_pixels = train_x.get_value(borrow=True).shape
n_batches = n_images // batch_size
index, x = T.lscalar(), T.matrix('x')
ca = cA(numpy_rng=numpy.random.RandomState(123), input=x, n_visible=n_pixels,
        n_batchsize=batch_size)
cost, updates = ca.get_cost_updates(contraction_level=.1, learning_rate=.05)
slope = theano.function([x], T.grad(cost, ca.W))
value = theano.function([x], [T.mean(ca.L_rec), ca.L_jacob])
train_ca = theano.function([index], [T.mean(ca.L_rec), ca.L_jacob], updates=updates, givens={
    x: train_x[index * batch_size: (index + 1) * batch_size]})

images = train_x.get_value()[:batch_size]
# the closed form of the Jacobian, against the one by differentiation of one example
one = T.vector('one')
by_hand = theano.function([x], ca.get_jacobian(ca.get_hidden_values(x), ca.W)[3].T)
by_gradient = theano.function([one], T.jacobian(ca.get_hidden_values(one), one))
assert numpy.allclose(by_hand(images), by_gradient(images[3]), atol=1e-12)
# and the gradient of all, against differences
W, rng = ca.W.get_value(), numpy.random.RandomState(7)
direction, sides = rng.normal(0, 1, W.shape), []
for sign in (1, -1):
    ca.W.set_value(W + sign * 1e-6 * direction)
    rec, jacob = value(images)
    sides.append(rec + .1 * jacob)
ca.W.set_value(W)
found = (slope(images) * direction).sum()
assert abs((sides[0] - sides[1]) / 2e-6 - found) < 1e-5 * abs(found), (sides, found)

means = [numpy.mean([train_ca(i) for i in range(n_batches)], axis=0) for _ in range(8)]
print('reconstruction %.2f -> %.2f, contraction %.2f -> %.2f' % (
    means[0][0], means[-1][0], means[0][1], means[-1][1]))
most, most_contraction = {64: (18.5, 15), 784: (130, 19)}[n_pixels]
assert means[-1][0] < most, means
assert means[-1][1] < most_contraction, means
