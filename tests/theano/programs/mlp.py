"""A multilayer perceptron with one hidden layer, and penalties on the weights."""

import numpy
import theano
import theano.tensor as T
from digits import load_data
from logistic_sgd import LogisticRegression


class HiddenLayer(object):
    def __init__(self, rng, input, n_in, n_out, W=None, b=None, activation=T.tanh):
        self.input = input
        if W is None:
            bound = numpy.sqrt(6. / (n_in + n_out))
            W_values = numpy.asarray(rng.uniform(low=-bound, high=bound, size=(n_in, n_out)),
                                     dtype=theano.config.floatX)
            if activation == theano.tensor.nnet.sigmoid:
                W_values *= 4
            W = theano.shared(value=W_values, name='W', borrow=True)
        if b is None:
            b = theano.shared(value=numpy.zeros((n_out,), dtype=theano.config.floatX), name='b',
                              borrow=True)
        self.W, self.b = W, b
        lin_output = T.dot(input, self.W) + self.b
        self.output = lin_output if activation is None else activation(lin_output)
        self.params = [self.W, self.b]


class MLP(object):
    def __init__(self, rng, input, n_in, n_hidden, n_out):
        self.hiddenLayer = HiddenLayer(rng=rng, input=input, n_in=n_in, n_out=n_hidden)
        self.logRegressionLayer = LogisticRegression(
            input=self.hiddenLayer.output, n_in=n_hidden, n_out=n_out)
        self.L1 = abs(self.hiddenLayer.W).sum() + abs(self.logRegressionLayer.W).sum()
        self.L2_sqr = (self.hiddenLayer.W ** 2).sum() + (self.logRegressionLayer.W ** 2).sum()
        self.negative_log_likelihood = self.logRegressionLayer.negative_log_likelihood
        self.errors = self.logRegressionLayer.errors
        self.params = self.hiddenLayer.params + self.logRegressionLayer.params


def main(learning_rate=0.1, L1_reg=0.0001, L2_reg=0.0003, n_epochs=40, batch_size=20):
    (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = load_data()
    n_train_batches = train_x.get_value(borrow=True).shape[0] // batch_size
    index = T.lscalar()
    x, y = T.matrix('x'), T.ivector('y')
    rng = numpy.random.RandomState(1234)
    classifier = MLP(rng=rng, input=x, n_in=train_x.get_value().shape[1], n_hidden=60, n_out=10)
    cost = (classifier.negative_log_likelihood(y)
            + L1_reg * classifier.L1
            + L2_reg * classifier.L2_sqr)
    test_model = theano.function([], classifier.errors(y), givens={x: test_x, y: test_y})
    gparams = [T.grad(cost, param) for param in classifier.params]
    updates = [(param, param - learning_rate * gparam)
               for param, gparam in zip(classifier.params, gparams)]
    train_model = theano.function(
        inputs=[index], outputs=cost, updates=updates,
        givens={x: train_x[index * batch_size: (index + 1) * batch_size],
                y: train_y[index * batch_size: (index + 1) * batch_size]})

    # the gradient, against differences of the cost
    value_and_slope = theano.function([x, y], [cost, gparams[0]])
    images, labels = train_x.get_value()[:30], train_y.eval()[:30]
    W = classifier.hiddenLayer.W
    classifier.logRegressionLayer.W.set_value(rng.normal(0, .1, (60, 10)))
    kept, direction = W.get_value(), rng.normal(0, 1, W.get_value().shape)
    sides = []
    for sign in (1, -1):
        W.set_value(kept + sign * 1e-6 * direction)
        sides.append(value_and_slope(images, labels)[0])
    W.set_value(kept)
    found = (value_and_slope(images, labels)[1] * direction).sum()
    assert abs((sides[0] - sides[1]) / 2e-6 - found) < 1e-5 * abs(found), (sides, found)

    costs = [train_model(i) for _ in range(n_epochs) for i in range(n_train_batches)]
    error, n = test_model(), n_train_batches
    print('test error %.2f %%' % (100. * error))
    assert numpy.mean(costs[-n:]) < numpy.mean(costs[:n]) / 4
    most = {64: .04, 784: .11}[train_x.get_value(borrow=True).shape[1]]
    assert error < most, error


if __name__ == '__main__':
    main()
