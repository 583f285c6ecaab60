"""Logistic regression by conjugate gradients over one flat vector of parameters."""

import numpy
import scipy.optimize
import theano
import theano.tensor as T
from digits import load_data


class LogisticRegression(object):
    def __init__(self, input, n_in, n_out):
        # all parameters lie in one vector, of which W and b are parts
        self.theta = theano.shared(
            value=numpy.zeros(n_in * n_out + n_out, dtype=theano.config.floatX),
            name='theta', borrow=True)
        self.W = self.theta[0:n_in * n_out].reshape((n_in, n_out))
        self.b = self.theta[n_in * n_out:n_in * n_out + n_out]
        self.p_y_given_x = T.nnet.softmax(T.dot(input, self.W) + self.b)
        self.y_pred = T.argmax(self.p_y_given_x, axis=1)

    def negative_log_likelihood(self, y):
        return -T.mean(T.log(self.p_y_given_x)[T.arange(y.shape[0]), y])

    def errors(self, y):
        return T.mean(T.neq(self.y_pred, y))


(train_x, train_y), (valid_x, valid_y), (test_x, test_y) = load_data()
batch_size = 250
n_train_batches = train_x.get_value(borrow=True).shape[0] // batch_size
n_in, n_out = train_x.get_value(borrow=True).shape[1], 10

minibatch_offset = T.lscalar()
x = T.matrix()
y = T.ivector()
classifier = LogisticRegression(input=x, n_in=n_in, n_out=n_out)
cost = classifier.negative_log_likelihood(y).mean()

givens = {x: train_x[minibatch_offset:minibatch_offset + batch_size],
          y: train_y[minibatch_offset:minibatch_offset + batch_size]}
batch_cost = theano.function([minibatch_offset], cost, givens=givens, name="batch_cost")
batch_grad = theano.function([minibatch_offset], T.grad(cost, classifier.theta), givens=givens,
                             name="batch_grad")
test_model = theano.function([], classifier.errors(y), givens={x: test_x, y: test_y})


def train_fn(theta_value):
    classifier.theta.set_value(theta_value, borrow=True)
    return numpy.mean([batch_cost(i * batch_size) for i in range(n_train_batches)])


def train_fn_grad(theta_value):
    classifier.theta.set_value(theta_value, borrow=True)
    grad = batch_grad(0)
    for i in range(1, n_train_batches):
        grad += batch_grad(i * batch_size)  # results are the caller's own
    return grad / n_train_batches


point = numpy.random.RandomState(3).normal(0, .1, n_in * n_out + n_out)
direction = numpy.random.RandomState(4).normal(0, 1, point.shape)
slope = (train_fn(point + 1e-5 * direction) - train_fn(point - 1e-5 * direction)) / 2e-5
assert abs(slope - train_fn_grad(point).dot(direction)) < 1e-6 * abs(slope), slope

best = scipy.optimize.fmin_cg(f=train_fn, x0=numpy.zeros(n_in * n_out + n_out, dtype=x.dtype),
                              fprime=train_fn_grad, disp=0, maxiter=40)
most_cost, most_errors = {64: (.05, .05), 784: (.08, .13)}[n_in]
assert train_fn(best) < most_cost, train_fn(best)
assert test_model() < most_errors, test_model()
