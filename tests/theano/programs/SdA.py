"""Stacked denoising autoencoders: layers are trained one by one, then all of them together."""

import numpy
import theano
import theano.tensor as T
from dA import dA, sigmoid, twin
from digits import load_data
from logistic_sgd import LogisticRegression
from mlp import HiddenLayer
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams


class SdA(object):
    def __init__(self, numpy_rng, n_ins, hidden_layers_sizes, n_outs):
        self.sigmoid_layers, self.dA_layers, self.params = [], [], []
        theano_rng = RandomStreams(numpy_rng.randint(2 ** 30))
        self.x, self.y = T.matrix('x'), T.ivector('y')
        layer_input, input_size = self.x, n_ins
        for size in hidden_layers_sizes:
            layer = HiddenLayer(rng=numpy_rng, input=layer_input, n_in=input_size, n_out=size,
                                activation=T.nnet.sigmoid)
            self.sigmoid_layers.append(layer)
            self.params.extend(layer.params)
            self.dA_layers.append(dA(
                numpy_rng=numpy_rng, theano_rng=theano_rng, input=layer_input,
                n_visible=input_size, n_hidden=size, W=layer.W, bhid=layer.b))
            layer_input, input_size = layer.output, size
        self.logLayer = LogisticRegression(input=layer_input, n_in=input_size, n_out=n_outs)
        self.params.extend(self.logLayer.params)
        self.finetune_cost = self.logLayer.negative_log_likelihood(self.y)
        self.errors = self.logLayer.errors(self.y)

    def pretraining_functions(self, train_x, batch_size):
        index = T.lscalar('index')
        corruption_level = T.scalar('corruption')
        learning_rate = T.scalar('lr')
        batch_begin = index * batch_size
        batch_end = batch_begin + batch_size
        fns = []
        for da in self.dA_layers:
            cost, updates = da.get_cost_updates(corruption_level, learning_rate)
            fns.append(theano.function(
                inputs=[index, theano.In(corruption_level, value=0.2),
                        theano.In(learning_rate, value=0.1)],
                outputs=cost, updates=updates,
                givens={self.x: train_x[batch_begin: batch_end]}))
        return fns

    def build_finetune_functions(self, datasets, batch_size, learning_rate):
        (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = datasets
        index = T.lscalar('index')
        gparams = T.grad(self.finetune_cost, self.params)
        updates = [(param, param - gparam * learning_rate)
                   for param, gparam in zip(self.params, gparams)]
        train_fn = theano.function(
            inputs=[index], outputs=self.finetune_cost, updates=updates, name='train',
            givens={self.x: train_x[index * batch_size: (index + 1) * batch_size],
                    self.y: train_y[index * batch_size: (index + 1) * batch_size]})
        test_fn = theano.function([], self.errors, givens={self.x: test_x, self.y: test_y},
                                  name='test')
        return train_fn, test_fn


def initial_twin(seed, sizes):
    """The weights that a net of sigmoid layers starts with, drawn in NumPy."""
    rng = numpy.random.RandomState(seed)
    rng.randint(2 ** 30)
    bounds = [numpy.sqrt(6. / (n_in + n_out)) for n_in, n_out in zip(sizes, sizes[1:])]
    return [[4 * rng.uniform(-bound, bound, shape), numpy.zeros(shape[1])]
            for bound, shape in zip(bounds, zip(sizes, sizes[1:]))]


def finetune_twin(x, y, layers, learning_rate):
    """The cost, and the layers (the last one a softmax) after a step of back-propagation."""
    outputs = [x]
    for W, b in layers[:-1]:
        outputs.append(sigmoid(outputs[-1].dot(W) + b))
    scores = numpy.exp(outputs[-1].dot(layers[-1][0]) + layers[-1][1])
    p = scores / scores.sum(axis=1, keepdims=True)
    delta = (p - numpy.eye(p.shape[1])[y]) / len(y)
    after = []
    for (W, b), below in reversed(list(zip(layers, outputs))):
        after.append([W - learning_rate * below.T.dot(delta), b - learning_rate * delta.sum(axis=0)])
        delta = delta.dot(W.T) * below * (1 - below)
    return -numpy.log(p[numpy.arange(len(y)), y]).mean(), after[::-1]


def assert_near(params, layers):
    for p, expected in zip(params, [value for layer in layers for value in layer]):
        assert numpy.allclose(p.get_value(), expected, rtol=1e-8, atol=1e-11), p


def check(sets, sizes=(12, 7), batch_size=20, n_steps=3):
    """Steps of all the training of a small net, against the same in NumPy."""
    images, labels = sets[0][0].get_value(), sets[0][1].eval()
    batches = [slice(k * batch_size, (k + 1) * batch_size) for k in range(n_steps)]
    sda = SdA(numpy.random.RandomState(5), images.shape[1], list(sizes), 10)
    layers = initial_twin(5, [images.shape[1]] + list(sizes))
    assert_near(sda.params, layers)
    for i, fn in enumerate(sda.pretraining_functions(sets[0][0], batch_size)):
        bias = numpy.zeros(layers[i][0].shape[0])
        for k, at in enumerate(batches):
            x = images[at]
            for W, b in layers[:i]:
                x = sigmoid(x.dot(W) + b)
            expected, (W, b, bias) = twin(x, *layers[i], bias, learning_rate=.1)
            layers[i] = [W, b]
            assert abs(fn(index=k, corruption=0.) - expected) < 1e-9 * expected
        assert_near(sda.params, layers)
        assert numpy.allclose(sda.dA_layers[i].b_prime.get_value(), bias)
    layers.append([numpy.zeros((sizes[-1], 10)), numpy.zeros(10)])
    train_fn, _ = sda.build_finetune_functions(sets, batch_size, .3)
    for k, at in enumerate(batches):
        expected, layers = finetune_twin(images[at], labels[at], layers, .3)
        assert abs(train_fn(k) - expected) < 1e-9 * expected
        assert_near(sda.params, layers)


if __name__ == '__main__':
    sets = load_data()
    check(sets)
    train_x = sets[0][0]
    n_images, n_pixels = train_x.get_value(borrow=True).shape
    batch_size = 20
    n_batches = n_images // batch_size
    sda = SdA(numpy_rng=numpy.random.RandomState(89677), n_ins=n_pixels,
              hidden_layers_sizes=[50, 40], n_outs=10)
    for i, fn in enumerate(sda.pretraining_functions(train_x, batch_size)):
        before = sda.sigmoid_layers[1 - i].W.get_value()
        means = [numpy.mean([fn(index=k, corruption=[.1, .2][i], lr=0.2)
                             for k in range(n_batches)]) for _ in range(10)]
        print('layer %d: cost %.2f -> %.2f' % (i, means[0], means[-1]))
        assert means[-1] < .93 * means[0], means
        assert numpy.array_equal(before, sda.sigmoid_layers[1 - i].W.get_value())
    fn(0)  # by the defaults
    train_fn, test_fn = sda.build_finetune_functions(sets, batch_size, 0.3)
    for _ in range(25):
        for k in range(n_batches):
            train_fn(k)
    print('test error %.2f %%' % (100. * test_fn()))
    assert test_fn() < {64: 0.06, 784: .12}[n_pixels], test_fn()
