"""Stacked denoising autoencoders: layers are trained one by one, then all of them together."""

import numpy
import theano
import theano.tensor as T
from dA import dA
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


if __name__ == '__main__':
    sets = load_data()
    train_x = sets[0][0]
    batch_size = 20
    n_batches = train_x.get_value(borrow=True).shape[0] // batch_size
    sda = SdA(numpy_rng=numpy.random.RandomState(89677), n_ins=64, hidden_layers_sizes=[50, 40],
              n_outs=10)
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
    assert test_fn() < 0.06, test_fn()
