"""LeNet: layers of convolution and pooling, then a perceptron."""

import numpy
import theano
import theano.tensor as T
from digits import load_data
from logistic_sgd import LogisticRegression
from mlp import HiddenLayer
from theano.tensor.nnet import conv, conv2d
from theano.tensor.signal import downsample, pool


class LeNetConvPoolLayer(object):
    def __init__(self, rng, input, filter_shape, image_shape, poolsize=(2, 2), old=False):
        assert image_shape[1] == filter_shape[1]
        self.input = input
        fan_in = numpy.prod(filter_shape[1:])
        fan_out = filter_shape[0] * numpy.prod(filter_shape[2:]) // numpy.prod(poolsize)
        W_bound = numpy.sqrt(6. / (fan_in + fan_out))
        self.W = theano.shared(numpy.asarray(
            rng.uniform(low=-W_bound, high=W_bound, size=filter_shape),
            dtype=theano.config.floatX), borrow=True)
        b_values = numpy.zeros((filter_shape[0],), dtype=theano.config.floatX)
        self.b = theano.shared(value=b_values, borrow=True)
        if old:
            self.conv_out = conv.conv2d(input=input, filters=self.W, filter_shape=filter_shape,
                                        image_shape=image_shape)
            pooled_out = downsample.max_pool_2d(input=self.conv_out, ds=poolsize,
                                                ignore_border=True)
        else:
            self.conv_out = conv2d(input=input, filters=self.W, filter_shape=filter_shape,
                                   input_shape=image_shape)
            pooled_out = pool.pool_2d(input=self.conv_out, ws=poolsize, ignore_border=True)
        self.output = T.tanh(pooled_out + self.b.dimshuffle('x', 0, 'x', 'x'))
        self.params = [self.W, self.b]


def convolved(images, filters):
    """A convolution in NumPy, by loops over the filters."""
    n, m = filters.shape[2:]
    rows, columns = images.shape[2] - n + 1, images.shape[3] - m + 1
    made = numpy.zeros((len(images), len(filters), rows, columns))
    for i in range(n):
        for j in range(m):
            part = images[:, :, i:i + rows, j:j + columns]
            made += numpy.einsum('bcij,fc->bfij', part, filters[:, :, n - 1 - i, m - 1 - j])
    return made


#: By the side of the images: filters and pools of both layers, what they make of an image, epochs,
#: and the most errors.
SIZES = {8: ((3, 2), (2, 1), (3, 2), 10, .05), 28: ((5, 2), (5, 2), (12, 4), 4, .09)}


def evaluate_lenet5(learning_rate=0.15, nkerns=(12, 24), batch_size=42):
    rng = numpy.random.RandomState(23455)
    (train_x, train_y), _, (test_x, test_y) = load_data()
    n_train_batches = train_x.get_value(borrow=True).shape[0] // batch_size
    n_test_batches = test_x.get_value(borrow=True).shape[0] // batch_size
    side = int(numpy.sqrt(train_x.get_value(borrow=True).shape[1]))
    (size0, pool0), (size1, pool1), sides, n_epochs, most = SIZES[side]
    index = T.lscalar()
    x, y = T.matrix('x'), T.ivector('y')

    layer0_input = x.reshape((batch_size, 1, side, side))
    layer0 = LeNetConvPoolLayer(rng, input=layer0_input, image_shape=(batch_size, 1, side, side),
                                filter_shape=(nkerns[0], 1, size0, size0),
                                poolsize=(pool0, pool0))
    layer1 = LeNetConvPoolLayer(rng, input=layer0.output,
                                image_shape=(batch_size, nkerns[0], sides[0], sides[0]),
                                filter_shape=(nkerns[1], nkerns[0], size1, size1),
                                poolsize=(pool1, pool1), old=True)
    layer2_input = layer1.output.flatten(2)
    layer2 = HiddenLayer(rng, input=layer2_input, n_in=nkerns[1] * sides[1] ** 2, n_out=60,
                         activation=T.tanh)
    layer3 = LogisticRegression(input=layer2.output, n_in=60, n_out=10)
    cost = layer3.negative_log_likelihood(y)
    params = layer3.params + layer2.params + layer1.params + layer0.params
    grads = T.grad(cost, params)

    # the first layer, against loops; and a gradient, against differences
    # (where pixels are equal, several lead a pool: all of them take its gradient)
    images, labels = train_x.get_value()[:batch_size], train_y.eval()[:batch_size]
    images = images + rng.uniform(0, 1e-3, images.shape)
    out = theano.function([x], [layer0.conv_out, layer0.output])(images)
    expected = convolved(images.reshape(-1, 1, side, side), layer0.W.get_value())
    assert numpy.allclose(out[0], expected)
    blocks = expected.reshape(
        batch_size, nkerns[0], sides[0], pool0, sides[0], pool0).max(axis=(3, 5))
    assert numpy.allclose(out[1], numpy.tanh(blocks))
    layer3.W.set_value(rng.normal(0, .1, (60, 10)))
    value_and_slope = theano.function([x, y], [cost, grads[-2]])
    kept, moved = layer0.W.get_value(), []
    direction = rng.normal(0, 1, kept.shape)
    for sign in (1, -1):
        layer0.W.set_value(kept + sign * 1e-6 * direction)
        moved.append(value_and_slope(images, labels)[0])
    layer0.W.set_value(kept)
    found = (value_and_slope(images, labels)[1] * direction).sum()
    assert abs((moved[0] - moved[1]) / 2e-6 - found) < 1e-4 * abs(found), (moved, found)

    updates = [(param_i, param_i - learning_rate * grad_i)
               for param_i, grad_i in zip(params, grads)]
    train_model = theano.function([index], cost, updates=updates, givens={
        x: train_x[index * batch_size: (index + 1) * batch_size],
        y: train_y[index * batch_size: (index + 1) * batch_size]})
    test_model = theano.function([index], layer3.errors(y), givens={
        x: test_x[index * batch_size: (index + 1) * batch_size],
        y: test_y[index * batch_size: (index + 1) * batch_size]})
    for epoch in range(n_epochs):
        for minibatch_index in range(n_train_batches):
            train_model(minibatch_index)
    error = numpy.mean([test_model(i) for i in range(n_test_batches)])
    print('test error %.2f %%' % (100 * error))
    assert error < most, error


if __name__ == '__main__':
    evaluate_lenet5()
