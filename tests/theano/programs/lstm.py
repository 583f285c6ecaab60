"""A recurrent net with long short-term memory reads digits row by row; masks end the sequences."""

from collections import OrderedDict

import numpy
import theano
import theano.tensor as tensor
from theano import config
from digits import load_arrays
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams

SEED = 123
numpy.random.seed(SEED)


def numpy_floatX(data):
    return numpy.asarray(data, dtype=config.floatX)


def ortho_weight(ndim):
    u, s, v = numpy.linalg.svd(numpy.random.randn(ndim, ndim))
    return u.astype(config.floatX)


def init_params(options):
    dim, n_in = options['dim_proj'], options['n_in']
    params = OrderedDict()
    params['lstm_W'] = numpy_floatX(.3 * numpy.random.randn(n_in, 4 * dim))
    params['lstm_U'] = numpy.concatenate([ortho_weight(dim) for _ in range(4)], axis=1)
    params['lstm_b'] = numpy_floatX(numpy.zeros((4 * dim,)))
    params['U'] = 0.01 * numpy.random.randn(dim, options['ydim']).astype(config.floatX)
    params['b'] = numpy.zeros((options['ydim'],)).astype(config.floatX)
    return params


def init_tparams(params):
    tparams = OrderedDict()
    for kk, pp in params.items():
        tparams[kk] = theano.shared(params[kk], name=kk)
    return tparams


def lstm_layer(tparams, state_below, options, mask):
    nsteps = state_below.shape[0]
    n_samples = state_below.shape[1] if state_below.ndim == 3 else 1
    dim_proj = options['dim_proj']
    assert mask is not None

    def _slice(_x, n, dim):
        if _x.ndim == 3:
            return _x[:, :, n * dim:(n + 1) * dim]
        return _x[:, n * dim:(n + 1) * dim]

    def _step(m_, x_, h_, c_):
        preact = tensor.dot(h_, tparams['lstm_U'])
        preact += x_
        i = tensor.nnet.sigmoid(_slice(preact, 0, dim_proj))
        f = tensor.nnet.sigmoid(_slice(preact, 1, dim_proj))
        o = tensor.nnet.sigmoid(_slice(preact, 2, dim_proj))
        c = tensor.tanh(_slice(preact, 3, dim_proj))
        c = f * c_ + i * c
        c = m_[:, None] * c + (1. - m_)[:, None] * c_
        h = o * tensor.tanh(c)
        h = m_[:, None] * h + (1. - m_)[:, None] * h_
        return h, c

    state_below = tensor.dot(state_below, tparams['lstm_W']) + tparams['lstm_b']
    rval, updates = theano.scan(
        _step, sequences=[mask, state_below],
        outputs_info=[tensor.alloc(numpy_floatX(0.), n_samples, dim_proj),
                      tensor.alloc(numpy_floatX(0.), n_samples, dim_proj)],
        name='lstm_layers', n_steps=nsteps)
    assert not updates
    return rval[0]


def dropout_layer(state_before, use_noise, trng):
    return tensor.switch(
        use_noise,
        state_before * trng.binomial(state_before.shape, p=0.9, n=1, dtype=state_before.dtype),
        state_before * 0.9)


def build_model(tparams, options):
    trng = RandomStreams(SEED)
    use_noise = theano.shared(numpy_floatX(0.))
    x = tensor.tensor3('x', dtype=config.floatX)
    mask = tensor.matrix('mask', dtype=config.floatX)
    y = tensor.vector('y', dtype='int64')
    n_samples = x.shape[1]
    proj = lstm_layer(tparams, x, options, mask=mask)
    proj = (proj * mask[:, :, None]).sum(axis=0)
    proj = proj / mask.sum(axis=0)[:, None]
    if options['use_dropout']:
        proj = dropout_layer(proj, use_noise, trng)
    pred = tensor.nnet.softmax(tensor.dot(proj, tparams['U']) + tparams['b'])
    f_pred = theano.function([x, mask], pred.argmax(axis=1), name='f_pred')
    off = 1e-6 if str(pred.dtype) == 'float16' else 1e-8
    cost = -tensor.log(pred[tensor.arange(n_samples), y] + off).mean()
    return use_noise, x, mask, y, f_pred, cost


def adadelta(lr, tparams, grads, x, mask, y, cost):
    zipped_grads = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_grad' % k)
                    for k, p in tparams.items()]
    running_up2 = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_rup2' % k)
                   for k, p in tparams.items()]
    running_grads2 = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_rgrad2' % k)
                      for k, p in tparams.items()]
    zgup = [(zg, g) for zg, g in zip(zipped_grads, grads)]
    rg2up = [(rg2, 0.95 * rg2 + 0.05 * (g ** 2)) for rg2, g in zip(running_grads2, grads)]
    f_grad_shared = theano.function([x, mask, y], cost, updates=zgup + rg2up,
                                    name='adadelta_f_grad_shared')
    updir = [-tensor.sqrt(ru2 + 1e-6) / tensor.sqrt(rg2 + 1e-6) * zg
             for zg, ru2, rg2 in zip(zipped_grads, running_up2, running_grads2)]
    ru2up = [(ru2, 0.95 * ru2 + 0.05 * (ud ** 2)) for ru2, ud in zip(running_up2, updir)]
    param_up = [(p, p + ud) for p, ud in zip(tparams.values(), updir)]
    f_update = theano.function([lr], [], updates=ru2up + param_up, on_unused_input='ignore',
                               name='adadelta_f_update')
    return f_grad_shared, f_update


def rmsprop(lr, tparams, grads, x, mask, y, cost):
    zipped_grads = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_grad' % k)
                    for k, p in tparams.items()]
    running_grads = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_rgrad' % k)
                     for k, p in tparams.items()]
    running_grads2 = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_rgrad2' % k)
                      for k, p in tparams.items()]
    zgup = [(zg, g) for zg, g in zip(zipped_grads, grads)]
    rgup = [(rg, 0.95 * rg + 0.05 * g) for rg, g in zip(running_grads, grads)]
    rg2up = [(rg2, 0.95 * rg2 + 0.05 * (g ** 2)) for rg2, g in zip(running_grads2, grads)]
    f_grad_shared = theano.function([x, mask, y], cost, updates=zgup + rgup + rg2up,
                                    name='rmsprop_f_grad_shared')
    updir = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_updir' % k)
             for k, p in tparams.items()]
    updir_new = [(ud, 0.9 * ud - 1e-4 * zg / tensor.sqrt(rg2 - rg ** 2 + 1e-4))
                 for ud, zg, rg, rg2 in zip(updir, zipped_grads, running_grads, running_grads2)]
    param_up = [(p, p + 10 * udn[1]) for p, udn in zip(tparams.values(), updir_new)]
    f_update = theano.function([lr], [], updates=updir_new + param_up, on_unused_input='ignore',
                               name='rmsprop_f_update')
    return f_grad_shared, f_update


def prepare_data(images, lengths):
    """Rows in time, then examples; what is behind the end of a sequence is no digit."""
    side = int(numpy.sqrt(images.shape[1]))
    x = images.reshape(-1, side, side).transpose(1, 0, 2)
    mask = (numpy.arange(side)[:, None] < lengths[None, :]).astype(config.floatX)
    return numpy.where(mask[:, :, None] > 0, x, 99.).astype(config.floatX), mask


def sigmoid(a):
    return 1 / (1 + numpy.exp(-a))


def cost_twin(x, mask, y, W, U, b, V, c):
    """The cost without noise, in NumPy."""
    h = cell = summed = numpy.zeros((x.shape[1], U.shape[0]))
    for row, m in zip(x.dot(W) + b, mask[:, :, None]):
        i, f, o, new = numpy.split(row + h.dot(U), 4, axis=1)
        cell = numpy.where(m > 0, sigmoid(f) * cell + sigmoid(i) * numpy.tanh(new), cell)
        h = numpy.where(m > 0, sigmoid(o) * numpy.tanh(cell), h)
        summed = summed + m * h
    scores = numpy.exp(.9 * (summed / mask.sum(axis=0)[:, None]).dot(V) + c)
    p = scores / scores.sum(axis=1, keepdims=True)
    return -numpy.log(p[numpy.arange(len(y)), y] + 1e-8).mean()


def adadelta_twin(p, g, state):
    """A parameter after a step, in NumPy; `state` is changed."""
    state['g2'] = .95 * state.get('g2', 0) + .05 * g ** 2
    step = -numpy.sqrt(state.get('u2', 0) + 1e-6) / numpy.sqrt(state['g2'] + 1e-6) * g
    state['u2'] = .95 * state.get('u2', 0) + .05 * step ** 2
    return p + step


def rmsprop_twin(p, g, state):
    for power in (1, 2):
        state[power] = .95 * state.get(power, 0) + .05 * g ** power
    wide = numpy.sqrt(state[2] - state[1] ** 2 + 1e-4)
    state['step'] = .9 * state.get('step', 0) - 1e-4 * g / wide
    return p + 10 * state['step']


def check_steps(cost, grads, tparams, inputs, f_grad_shared, f_update, optimizer_twin, batches):
    """Steps of training: the cost and its gradient against NumPy, then what the optimizer does."""
    slopes_of = theano.function(inputs, grads)
    draws, states = numpy.random.RandomState(0), [{} for _ in tparams]
    for data in batches:
        values, slopes = [p.get_value() for p in tparams.values()], slopes_of(*data)
        for k, (value, slope) in enumerate(zip(values, slopes)):
            direction = draws.normal(0, 1, value.shape)
            sides = [cost_twin(*data, *values[:k], value + step * direction, *values[k + 1:])
                     for step in (1e-5, -1e-5)]
            found = (slope * direction).sum()
            assert abs((sides[0] - sides[1]) / 2e-5 - found) < 1e-5 * abs(found) + 1e-8, k
        assert abs(f_grad_shared(*data) - cost_twin(*data, *values)) < 1e-9
        f_update(0.0001)
        for p, value, slope, state in zip(tparams.values(), values, slopes, states):
            expected = optimizer_twin(value, slope, state)
            assert numpy.allclose(p.get_value(), expected, rtol=1e-8, atol=1e-12), p.name


def train_lstm(optimizer, epochs, batch_size=16, **options):
    found, side = load_arrays()
    rng = numpy.random.RandomState(SEED)
    sets = [(images, labels, rng.randint(3 * side // 4, side + 1, len(labels)))
            for images, labels in (found[0], found[2])]
    options.update(dim_proj=24, n_in=side, ydim=10, use_dropout=True)
    tparams = init_tparams(init_params(options))
    use_noise, x, mask, y, f_pred, cost = build_model(tparams, options)
    grads = tensor.grad(cost, wrt=list(tparams.values()))
    images, labels, lengths = sets[0]
    lr = tensor.scalar(name='lr')
    f_grad_shared, f_update = optimizer(lr, tparams, grads, x, mask, y, cost)
    firsts = [slice(k, k + batch_size) for k in range(0, 3 * batch_size, batch_size)]
    check_steps(cost, grads, tparams, [x, mask, y], f_grad_shared, f_update,
                {rmsprop: rmsprop_twin, adadelta: adadelta_twin}[optimizer],
                [(*prepare_data(images[at], lengths[at]), labels[at]) for at in firsts])
    for epoch in range(epochs):
        use_noise.set_value(1.)
        order = rng.permutation(len(labels))
        for start in range(0, len(order), batch_size):
            at = order[start:start + batch_size]
            x_values, mask_values = prepare_data(images[at], lengths[at])
            train_cost = f_grad_shared(x_values, mask_values, labels[at])
            f_update(0.0001)
            assert numpy.isfinite(train_cost), epoch
    use_noise.set_value(0.)
    images, labels, lengths = sets[1]
    return (f_pred(*prepare_data(images, lengths)) != labels).mean(), side


if __name__ == '__main__':
    for optimizer, epochs, most in ((rmsprop, 8, {8: .25, 28: .15}),
                                    (adadelta, 11, {8: .3, 28: .2})):
        error, side = train_lstm(optimizer, epochs)
        print('%s: test error %.1f %%' % (optimizer.__name__, 100 * error))
        assert error < most[side], (optimizer.__name__, error)
