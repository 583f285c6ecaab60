"""A recurrent net gives the biases of a Boltzmann machine for each moment; here the moments are the
rows of a digit."""

import numpy
import theano
import theano.tensor as T
from digits import load_arrays
from theano.tensor.shared_randomstreams import RandomStreams

rng = RandomStreams(seed=numpy.random.RandomState(3).randint(1 << 30))
theano.config.warn.subtensor_merge_bug = False
numpy_rng = numpy.random.RandomState(5)


def build_rbm(v, W, bv, bh, k):
    def gibbs_step(v):
        mean_h = T.nnet.sigmoid(T.dot(v, W) + bh)
        h = rng.binomial(size=mean_h.shape, n=1, p=mean_h, dtype=theano.config.floatX)
        mean_v = T.nnet.sigmoid(T.dot(h, W.T) + bv)
        v = rng.binomial(size=mean_v.shape, n=1, p=mean_v, dtype=theano.config.floatX)
        return mean_v, v

    chain, updates = theano.scan(lambda v: gibbs_step(v)[1], outputs_info=[v], n_steps=k)
    v_sample = chain[-1]
    mean_v = gibbs_step(v_sample)[0]
    monitor = T.xlogx.xlogy0(v, mean_v) + T.xlogx.xlogy0(1 - v, 1 - mean_v)
    monitor = monitor.sum() / v.shape[0]

    def free_energy(v):
        return -(v * bv).sum() - T.log(1 + T.exp(T.dot(v, W) + bh)).sum()

    cost = (free_energy(v) - free_energy(v_sample)) / v.shape[0]
    return v_sample, cost, monitor, updates


def shared_normal(num_rows, num_cols, scale=1):
    return theano.shared(numpy_rng.normal(
        scale=scale, size=(num_rows, num_cols)).astype(theano.config.floatX))


def shared_zeros(*shape):
    return theano.shared(numpy.zeros(shape, dtype=theano.config.floatX))


def build_rnnrbm(n_visible, n_hidden, n_hidden_recurrent, n_rows):
    W = shared_normal(n_visible, n_hidden, 0.01)
    bv, bh = shared_zeros(n_visible), shared_zeros(n_hidden)
    Wuh = shared_normal(n_hidden_recurrent, n_hidden, 0.01)
    Wuv = shared_normal(n_hidden_recurrent, n_visible, 0.01)
    Wvu = shared_normal(n_visible, n_hidden_recurrent, 0.1)
    Wuu = shared_normal(n_hidden_recurrent, n_hidden_recurrent, 0.1)
    bu = shared_zeros(n_hidden_recurrent)
    params = W, bv, bh, Wuh, Wuv, Wvu, Wuu, bu
    v = T.matrix()
    u0 = T.zeros((n_hidden_recurrent,))

    def recurrence(v_t, u_tm1):
        bv_t = bv + T.dot(u_tm1, Wuv)
        bh_t = bh + T.dot(u_tm1, Wuh)
        generate = v_t is None
        if generate:
            v_t, _, _, updates = build_rbm(T.zeros((n_visible,)), W, bv_t, bh_t, k=15)
        u_t = T.tanh(bu + T.dot(v_t, Wvu) + T.dot(u_tm1, Wuu))
        return ([v_t, u_t], updates) if generate else [u_t, bv_t, bh_t]

    (u_t, bv_t, bh_t), updates_train = theano.scan(
        lambda v_t, u_tm1, *_: recurrence(v_t, u_tm1),
        sequences=v, outputs_info=[u0, None, None], non_sequences=params)
    v_sample, cost, monitor, updates_rbm = build_rbm(v, W, bv_t[:], bh_t[:], k=3)
    updates_train.update(updates_rbm)
    (v_t, u_t), updates_generate = theano.scan(
        lambda u_tm1, *_: recurrence(None, u_tm1),
        outputs_info=[None, u0], non_sequences=params, n_steps=n_rows)
    return v, v_sample, cost, monitor, params, updates_train, v_t, updates_generate


class RnnRbm(object):
    def __init__(self, n_rows, n_visible, n_hidden=24, n_hidden_recurrent=20, lr=0.05):
        (v, v_sample, cost, monitor, params, updates_train, v_t,
         updates_generate) = build_rnnrbm(n_visible, n_hidden, n_hidden_recurrent, n_rows)
        self.params, self.lr = params, lr
        gradient = T.grad(cost, params, consider_constant=[v_sample])
        updates_train.update(((p, p - lr * g) for p, g in zip(params, gradient)))
        self.train_function = theano.function([v], [monitor, cost, v_sample],
                                              updates=updates_train)
        self.generate_function = theano.function([], v_t, updates=updates_generate)

    def train(self, sequences, num_epochs):
        means = []
        for epoch in range(num_epochs):
            numpy_rng.shuffle(sequences)
            means.append(numpy.mean([self.train_function(s)[0] for s in sequences]))
        return means


def cost_twin(v, v_sample, W, bv, bh, Wuh, Wuv, Wvu, Wuu, bu):
    """The cost of a sequence and of what the chains made of it, in NumPy."""
    u, cost = numpy.zeros(len(bu)), 0.
    for row, sampled in zip(v, v_sample):
        bv_t, bh_t = bv + u.dot(Wuv), bh + u.dot(Wuh)
        for sign, x in ((1, row), (-1, sampled)):
            cost -= sign * (x.dot(bv_t) + numpy.log1p(numpy.exp(x.dot(W) + bh_t)).sum())
        u = numpy.tanh(bu + row.dot(Wvu) + u.dot(Wuu))
    return cost / len(v)


def check(model, sequences):
    """Steps of training: the cost against NumPy's, and what they do to each parameter against
    differences of that cost."""
    draws = numpy.random.RandomState(0)
    for v in sequences:
        before = [p.get_value() for p in model.params]
        _, cost, v_sample = model.train_function(v)
        assert v_sample.shape == v.shape and set(numpy.unique(v_sample)) == {0., 1.}
        assert abs(cost - cost_twin(v, v_sample, *before)) < 1e-9, cost
        for k, (p, value) in enumerate(zip(model.params, before)):
            direction = draws.normal(0, 1, value.shape)
            sides = [cost_twin(v, v_sample, *before[:k], value + step * direction, *before[k + 1:])
                     for step in (1e-5, -1e-5)]
            slope = ((value - p.get_value()) / model.lr * direction).sum()
            assert abs((sides[0] - sides[1]) / 2e-5 - slope) < 1e-7 + 1e-6 * abs(slope), k


if __name__ == '__main__':
    ((images, labels), _, _), side = load_arrays()
    n_rows, most, apart = {8: (24, -2, .08), 28: (28, -4.5, .2)}[side]
    zeros = images[labels == 0][:72]
    rows = (zeros.reshape(-1, n_rows, side) > .5).astype(theano.config.floatX)
    model = RnnRbm(n_rows, side)
    check(model, rows[:3])
    means = model.train(list(rows), 30)
    print('likelihood of rows %.2f, then %.2f' % (means[0], means[-1]))
    assert means[-1] > most, means
    dreams = numpy.array([model.generate_function() for _ in range(30)])
    assert set(numpy.unique(dreams)) <= {0., 1.}
    distance = abs(dreams.mean(axis=(0, 1)) - rows.mean(axis=(0, 1))).max()
    assert distance < apart, distance
    # rows of a digit follow each other: dark rows come after what the data has before them
    def following(x):
        weight = x.sum(axis=2)
        return numpy.corrcoef(weight[:, 1:].ravel(), weight[:, :-1].ravel())[0, 1]
    print('rows after rows: data %.2f, model %.2f' % (following(rows), following(dreams)))
    assert following(dreams) > {8: 0, 28: .7}[side]
