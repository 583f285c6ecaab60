"""A deep belief net: Boltzmann machines pretrain the layers of a perceptron."""

import numpy
import theano
import theano.tensor as T
from digits import load_data
from logistic_sgd import LogisticRegression
from mlp import HiddenLayer
from rbm import RBM, sigmoid, twin
from SdA import assert_near, finetune_twin, initial_twin
from theano.sandbox.rng_mrg import MRG_RandomStreams


class DBN(object):
    def __init__(self, numpy_rng, n_ins, hidden_layers_sizes, n_outs):
        self.sigmoid_layers, self.rbm_layers, self.params = [], [], []
        theano_rng = MRG_RandomStreams(numpy_rng.randint(2 ** 30))
        self.x, self.y = T.matrix('x'), T.ivector('y')
        for i, size in enumerate(hidden_layers_sizes):
            n_in = n_ins if i == 0 else hidden_layers_sizes[i - 1]
            layer_input = self.x if i == 0 else self.sigmoid_layers[-1].output
            layer = HiddenLayer(rng=numpy_rng, input=layer_input, n_in=n_in, n_out=size,
                                activation=T.nnet.sigmoid)
            self.sigmoid_layers.append(layer)
            self.params.extend(layer.params)
            self.rbm_layers.append(RBM(
                numpy_rng=numpy_rng, theano_rng=theano_rng, input=layer_input, n_visible=n_in,
                n_hidden=size, W=layer.W, hbias=layer.b))
        self.logLayer = LogisticRegression(
            input=self.sigmoid_layers[-1].output, n_in=hidden_layers_sizes[-1], n_out=n_outs)
        self.params.extend(self.logLayer.params)
        self.finetune_cost = self.logLayer.negative_log_likelihood(self.y)
        self.errors = self.logLayer.errors(self.y)

    def pretraining_functions(self, train_x, batch_size, k):
        index, learning_rate = T.lscalar('index'), T.scalar('lr')
        fns = []
        for rbm in self.rbm_layers:
            cost, updates = rbm.get_cost_updates(learning_rate, persistent=None, k=k)
            fns.append(theano.function(
                inputs=[index, theano.Param(learning_rate, default=0.1)], outputs=cost,
                updates=updates,
                givens={self.x: train_x[index * batch_size: (index + 1) * batch_size]}))
        return fns

    def finetune_function(self, train_x, train_y, batch_size, learning_rate):
        index = T.lscalar('index')
        gparams = T.grad(self.finetune_cost, self.params)
        return theano.function(
            [index], self.finetune_cost,
            updates=[(p, p - g * learning_rate) for p, g in zip(self.params, gparams)],
            givens={self.x: train_x[index * batch_size: (index + 1) * batch_size],
                    self.y: train_y[index * batch_size: (index + 1) * batch_size]})


def check(train_x, train_y, sizes=(40, 30), batch_size=20, n_steps=3):
    """Steps of all the training of a small net, against the same in NumPy, with its samples."""
    images, labels = train_x.get_value(), train_y.eval()
    batches = [slice(k * batch_size, (k + 1) * batch_size) for k in range(n_steps)]
    dbn = DBN(numpy.random.RandomState(6), images.shape[1], list(sizes), 10)
    layers = initial_twin(6, [images.shape[1]] + list(sizes))
    for i, rbm in enumerate(dbn.rbm_layers):
        cost, updates = rbm.get_cost_updates(.1, persistent=None, k=1)
        step = theano.function([dbn.x], [cost, rbm.ph_sample, rbm.chain_end], updates=updates)
        vbias = numpy.zeros(layers[i][0].shape[0])
        for at in batches:
            v, (W, hbias) = images[at], layers[i]
            for weights, bias in layers[:i]:
                v = sigmoid(v.dot(weights) + bias)
            found, h, end = step(images[at])
            back = sigmoid(h.dot(W.T) + vbias)
            expected = (v * numpy.log(back) + (1 - v) * numpy.log(1 - back)).sum(axis=1).mean()
            assert abs(found - expected) < 1e-9 * abs(expected), (found, expected)
            for sample, p in ((h, sigmoid(v.dot(W) + hbias)), (end, back)):
                assert set(numpy.unique(sample)) == {0., 1.} and abs((sample - p).mean()) < .06
            W, hbias, vbias = twin(v, end, W, hbias, vbias, lr=.1)
            layers[i] = [W, hbias]
        assert_near(dbn.params, layers)
        assert numpy.allclose(rbm.vbias.get_value(), vbias)
    layers.append([numpy.zeros((sizes[-1], 10)), numpy.zeros(10)])
    train_fn = dbn.finetune_function(train_x, train_y, batch_size, .3)
    for k, at in enumerate(batches):
        expected, layers = finetune_twin(images[at], labels[at], layers, .3)
        assert abs(train_fn(k) - expected) < 1e-9 * expected
        assert_near(dbn.params, layers)


sets = load_data()
(train_x, train_y), _, (test_x, test_y) = sets
check(train_x, train_y)
n_images, n_pixels = train_x.get_value(borrow=True).shape
batch_size = 20
n_batches = n_images // batch_size
most, most_errors = {64: (.16, .05), 784: (.1, .12)}[n_pixels]
dbn = DBN(numpy_rng=numpy.random.RandomState(123), n_ins=n_pixels, hidden_layers_sizes=[60, 50],
          n_outs=10)
for i, fn in enumerate(dbn.pretraining_functions(train_x, batch_size, k=1)):
    means = [numpy.mean([fn(index=k, lr=.05) for k in range(n_batches)]) for _ in range(6)]
    print('layer %d: reconstruction %.2f -> %.2f' % (i, means[0], means[-1]))
    assert means[-1] > means[0] + 1, means

# the first layer's reconstruction of digits it has seen is near
v = T.matrix('v')
h = dbn.rbm_layers[0].propup(v)[1]
back = theano.function([v], dbn.rbm_layers[0].propdown(h)[1])
images = train_x.get_value()[:100]
assert abs(back(images) - images).mean() < most, abs(back(images) - images).mean()

train_fn = dbn.finetune_function(train_x, train_y, batch_size, 0.3)
test_fn = theano.function([], dbn.errors, givens={dbn.x: test_x, dbn.y: test_y})
for epoch in range(25):
    for k in range(n_batches):
        train_fn(k)
print('test error %.2f %%' % (100. * test_fn()))
assert test_fn() < most_errors, test_fn()
