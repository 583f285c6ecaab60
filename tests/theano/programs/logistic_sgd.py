"""Multinomial logistic regression, trained by stochastic gradient descent with early stopping."""

from __future__ import print_function

import pickle
import sys
import timeit

import numpy
import theano
import theano.tensor as T
from digits import load_data


class LogisticRegression(object):
    """p(y | x) = softmax(x W + b)."""

    def __init__(self, input, n_in, n_out):
        self.W = theano.shared(
            value=numpy.zeros((n_in, n_out), dtype=theano.config.floatX), name='W', borrow=True)
        self.b = theano.shared(
            value=numpy.zeros((n_out,), dtype=theano.config.floatX), name='b', borrow=True)
        self.p_y_given_x = T.nnet.softmax(T.dot(input, self.W) + self.b)
        self.y_pred = T.argmax(self.p_y_given_x, axis=1)
        self.params = [self.W, self.b]
        self.input = input

    def negative_log_likelihood(self, y):
        return -T.mean(T.log(self.p_y_given_x)[T.arange(y.shape[0]), y])

    def errors(self, y):
        if y.ndim != self.y_pred.ndim:
            raise TypeError('y should have the same shape as self.y_pred',
                            ('y', y.type, 'y_pred', self.y_pred.type))
        if y.dtype.startswith('int'):
            return T.mean(T.neq(self.y_pred, y))
        else:
            raise NotImplementedError()


def sgd_optimization(learning_rate=0.13, n_epochs=60, batch_size=60):
    (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = load_data()
    n_train_batches = train_x.get_value(borrow=True).shape[0] // batch_size
    n_valid_batches = valid_x.get_value(borrow=True).shape[0] // batch_size
    n_test_batches = test_x.get_value(borrow=True).shape[0] // batch_size
    n_in = train_x.get_value(borrow=True).shape[1]

    index = T.lscalar()
    x = T.matrix('x')
    y = T.ivector('y')
    classifier = LogisticRegression(input=x, n_in=n_in, n_out=10)
    cost = classifier.negative_log_likelihood(y)

    def batches(data_x, data_y):
        return {x: data_x[index * batch_size:(index + 1) * batch_size],
                y: data_y[index * batch_size:(index + 1) * batch_size]}

    test_model = theano.function([index], classifier.errors(y), givens=batches(test_x, test_y))
    validate_model = theano.function(
        inputs=[index], outputs=classifier.errors(y), givens=batches(valid_x, valid_y))
    g_W = T.grad(cost=cost, wrt=classifier.W)
    g_b = T.grad(cost=cost, wrt=classifier.b)
    updates = [(classifier.W, classifier.W - learning_rate * g_W),
               (classifier.b, classifier.b - learning_rate * g_b)]
    train_model = theano.function(
        inputs=[index], outputs=cost, updates=updates, givens=batches(train_x, train_y))

    patience, patience_increase, improvement_threshold = 5000, 2, 0.995
    best_validation_loss, test_score = numpy.inf, 0.
    start_time = timeit.default_timer()
    iteration, costs = 0, []
    for epoch in range(n_epochs):
        for minibatch_index in range(n_train_batches):
            costs.append(train_model(minibatch_index))
            iteration += 1
        this_validation_loss = numpy.mean([validate_model(i) for i in range(n_valid_batches)])
        if this_validation_loss < best_validation_loss:
            if this_validation_loss < best_validation_loss * improvement_threshold:
                patience = max(patience, iteration * patience_increase)
            best_validation_loss = this_validation_loss
            test_score = numpy.mean([test_model(i) for i in range(n_test_batches)])
            best_model = pickle.dumps(classifier)
        if patience <= iteration:
            break
    print('best validation %f %%, test %f %%' % (best_validation_loss * 100., test_score * 100.))
    print('%.1fs' % (timeit.default_timer() - start_time), file=sys.stderr)
    return classifier, costs, test_score, best_model, train_x, train_y


def twin(images, labels, steps, batch_size=60, learning_rate=0.13):
    """The same steps in NumPy."""
    W, b, costs = numpy.zeros((images.shape[1], 10)), numpy.zeros(10), []
    for k in range(steps):
        at = slice(k * batch_size, (k + 1) * batch_size)
        x, y = images[at], labels[at]
        scores = x.dot(W) + b
        p = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        costs.append(-numpy.log(p[numpy.arange(len(y)), y]).mean())
        p[numpy.arange(len(y)), y] -= 1
        W -= learning_rate * x.T.dot(p) / len(y)
        b -= learning_rate * p.mean(axis=0)
    return costs


if __name__ == '__main__':
    classifier, costs, test_score, best_model, train_x, train_y = sgd_optimization()
    expected = twin(train_x.get_value(), train_y.eval(), 10)
    assert numpy.allclose(costs[:10], expected), (costs[:10], expected)
    most = {64: .06, 784: .12}[train_x.get_value(borrow=True).shape[1]]
    assert test_score < most, test_score

    # a pickled model predicts what the model did
    restored = pickle.loads(best_model)
    predict = theano.function(inputs=[restored.input], outputs=restored.y_pred)
    images = train_x.get_value()[:200]
    assert (predict(images) == train_y.eval()[:200]).mean() > 0.94
    before = classifier.W.get_value()
    restored.W.set_value(0 * before)
    assert numpy.array_equal(classifier.W.get_value(), before)
