"""A deep belief net: Boltzmann machines pretrain the layers of a perceptron."""

import numpy
import theano
import theano.tensor as T
from digits import load_data
from logistic_sgd import LogisticRegression
from mlp import HiddenLayer
from rbm import RBM
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


sets = load_data()
(train_x, train_y), _, (test_x, test_y) = sets
batch_size = 20
n_batches = train_x.get_value(borrow=True).shape[0] // batch_size
dbn = DBN(numpy_rng=numpy.random.RandomState(123), n_ins=64, hidden_layers_sizes=[60, 50], n_outs=10)
for i, fn in enumerate(dbn.pretraining_functions(train_x, batch_size, k=1)):
    means = [numpy.mean([fn(index=k, lr=.05) for k in range(n_batches)]) for _ in range(6)]
    print('layer %d: reconstruction %.2f -> %.2f' % (i, means[0], means[-1]))
    assert means[-1] > means[0] + 1, means

# the first layer's reconstruction of digits it has seen is near
v = T.matrix('v')
h = dbn.rbm_layers[0].propup(v)[1]
back = theano.function([v], dbn.rbm_layers[0].propdown(h)[1])
images = train_x.get_value()[:100]
assert abs(back(images) - images).mean() < .16, abs(back(images) - images).mean()

index = T.lscalar('index')
gparams = T.grad(dbn.finetune_cost, dbn.params)
train_fn = theano.function(
    [index], dbn.finetune_cost,
    updates=[(p, p - g * 0.3) for p, g in zip(dbn.params, gparams)],
    givens={dbn.x: train_x[index * batch_size: (index + 1) * batch_size],
            dbn.y: train_y[index * batch_size: (index + 1) * batch_size]})
test_fn = theano.function([], dbn.errors, givens={dbn.x: test_x, dbn.y: test_y})
for epoch in range(25):
    for k in range(n_batches):
        train_fn(k)
print('test error %.2f %%' % (100. * test_fn()))
assert test_fn() < 0.05, test_fn()
