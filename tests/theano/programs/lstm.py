"""A recurrent net with long short-term memory reads digits row by row; masks end the sequences."""

from collections import OrderedDict

import numpy
import theano
import theano.tensor as tensor
from theano import config
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams

from examples import datasets

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
    x = images.reshape(-1, 8, 8).transpose(1, 0, 2)
    mask = (numpy.arange(8)[:, None] < lengths[None, :]).astype(config.floatX)
    return numpy.where(mask[:, :, None] > 0, x, 99.).astype(config.floatX), mask


def check_gradient(cost, grads, tparams, data, x, mask, y):
    value_and_slopes = theano.function([x, mask, y], [cost] + grads)
    slopes = value_and_slopes(*data)[1:]
    rng = numpy.random.RandomState(0)
    for (name, p), slope in zip(tparams.items(), slopes):
        kept, direction, sides = p.get_value(), rng.normal(0, 1, p.get_value().shape), []
        for sign in (1, -1):
            p.set_value(kept + sign * 1e-5 * direction)
            sides.append(value_and_slopes(*data)[0])
        p.set_value(kept)
        found = (slope * direction).sum()
        assert abs((sides[0] - sides[1]) / 2e-5 - found) < 1e-5 * abs(found) + 1e-8, name


def train_lstm(optimizer, epochs, batch_size=16, **options):
    found = datasets.load(dtype=config.floatX)
    rng = numpy.random.RandomState(SEED)
    sets = [(part.images, part.labels, rng.randint(6, 9, len(part)))
            for part in (found.train, found.test)]
    options.update(dim_proj=24, n_in=8, ydim=10, use_dropout=True)
    tparams = init_tparams(init_params(options))
    use_noise, x, mask, y, f_pred, cost = build_model(tparams, options)
    grads = tensor.grad(cost, wrt=list(tparams.values()))
    images, labels, lengths = sets[0]
    if optimizer is rmsprop:
        check_gradient(cost, grads, tparams,
                       (*prepare_data(images[:4], lengths[:4]), labels[:4]), x, mask, y)
    lr = tensor.scalar(name='lr')
    f_grad_shared, f_update = optimizer(lr, tparams, grads, x, mask, y, cost)
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
    return (f_pred(*prepare_data(images, lengths)) != labels).mean()


if __name__ == '__main__':
    for optimizer, epochs, most in ((rmsprop, 8, .25), (adadelta, 11, .3)):
        error = train_lstm(optimizer, epochs)
        print('%s: test error %.1f %%' % (optimizer.__name__, 100 * error))
        assert error < most, (optimizer.__name__, error)
