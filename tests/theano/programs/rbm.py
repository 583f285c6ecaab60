"""A restricted Boltzmann machine, trained by persistent contrastive divergence."""

import numpy
import theano
import theano.tensor as T
from digits import load_data
from theano.tensor.shared_randomstreams import RandomStreams


class RBM(object):
    def __init__(self, input=None, n_visible=64, n_hidden=50, W=None, hbias=None, vbias=None,
                 numpy_rng=None, theano_rng=None):
        self.n_visible, self.n_hidden = n_visible, n_hidden
        if numpy_rng is None:
            numpy_rng = numpy.random.RandomState(1234)
        if theano_rng is None:
            theano_rng = RandomStreams(numpy_rng.randint(2 ** 30))
        if W is None:
            bound = 4 * numpy.sqrt(6. / (n_hidden + n_visible))
            W = theano.shared(value=numpy.asarray(
                numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden)),
                dtype=theano.config.floatX), name='W', borrow=True)
        if hbias is None:
            hbias = theano.shared(value=numpy.zeros(n_hidden, dtype=theano.config.floatX),
                                  name='hbias', borrow=True)
        if vbias is None:
            vbias = theano.shared(value=numpy.zeros(n_visible, dtype=theano.config.floatX),
                                  name='vbias', borrow=True)
        self.input = input
        if not input:
            self.input = T.matrix('input')
        self.W, self.hbias, self.vbias, self.theano_rng = W, hbias, vbias, theano_rng
        self.params = [self.W, self.hbias, self.vbias]

    def free_energy(self, v_sample):
        wx_b = T.dot(v_sample, self.W) + self.hbias
        vbias_term = T.dot(v_sample, self.vbias)
        hidden_term = T.sum(T.log(1 + T.exp(wx_b)), axis=1)
        return -hidden_term - vbias_term

    def propup(self, vis):
        pre_sigmoid_activation = T.dot(vis, self.W) + self.hbias
        return [pre_sigmoid_activation, T.nnet.sigmoid(pre_sigmoid_activation)]

    def sample_h_given_v(self, v0_sample):
        pre_sigmoid_h1, h1_mean = self.propup(v0_sample)
        h1_sample = self.theano_rng.binomial(size=h1_mean.shape, n=1, p=h1_mean,
                                             dtype=theano.config.floatX)
        return [pre_sigmoid_h1, h1_mean, h1_sample]

    def propdown(self, hid):
        pre_sigmoid_activation = T.dot(hid, self.W.T) + self.vbias
        return [pre_sigmoid_activation, T.nnet.sigmoid(pre_sigmoid_activation)]

    def sample_v_given_h(self, h0_sample):
        pre_sigmoid_v1, v1_mean = self.propdown(h0_sample)
        v1_sample = self.theano_rng.binomial(size=v1_mean.shape, n=1, p=v1_mean,
                                             dtype=theano.config.floatX)
        return [pre_sigmoid_v1, v1_mean, v1_sample]

    def gibbs_hvh(self, h0_sample):
        pre_sigmoid_v1, v1_mean, v1_sample = self.sample_v_given_h(h0_sample)
        pre_sigmoid_h1, h1_mean, h1_sample = self.sample_h_given_v(v1_sample)
        return [pre_sigmoid_v1, v1_mean, v1_sample, pre_sigmoid_h1, h1_mean, h1_sample]

    def gibbs_vhv(self, v0_sample):
        pre_sigmoid_h1, h1_mean, h1_sample = self.sample_h_given_v(v0_sample)
        pre_sigmoid_v1, v1_mean, v1_sample = self.sample_v_given_h(h1_sample)
        return [pre_sigmoid_h1, h1_mean, h1_sample, pre_sigmoid_v1, v1_mean, v1_sample]

    def get_cost_updates(self, lr=0.1, persistent=None, k=1):
        pre_sigmoid_ph, ph_mean, ph_sample = self.sample_h_given_v(self.input)
        if persistent is None:
            chain_start = ph_sample
        else:
            chain_start = persistent
        (
            [pre_sigmoid_nvs, nv_means, nv_samples, pre_sigmoid_nhs, nh_means, nh_samples],
            updates
        ) = theano.scan(
            self.gibbs_hvh,
            outputs_info=[None, None, None, None, None, chain_start],
            n_steps=k,
            name="gibbs_hvh"
        )
        self.chain_end = chain_end = nv_samples[-1]
        self.ph_sample = ph_sample
        cost = T.mean(self.free_energy(self.input)) - T.mean(self.free_energy(chain_end))
        gparams = T.grad(cost, self.params, consider_constant=[chain_end])
        for gparam, param in zip(gparams, self.params):
            updates[param] = param - gparam * T.cast(lr, dtype=theano.config.floatX)
        if persistent:
            updates[persistent] = nh_samples[-1]
            monitoring_cost = self.get_pseudo_likelihood_cost(updates)
        else:
            monitoring_cost = self.get_reconstruction_cost(updates, pre_sigmoid_nvs[-1])
        return monitoring_cost, updates

    def get_pseudo_likelihood_cost(self, updates):
        bit_i_idx = theano.shared(value=0, name='bit_i_idx')
        xi = T.round(self.input)
        fe_xi = self.free_energy(xi)
        xi_flip = T.set_subtensor(xi[:, bit_i_idx], 1 - xi[:, bit_i_idx])
        fe_xi_flip = self.free_energy(xi_flip)
        cost = T.mean(self.n_visible * T.log(T.nnet.sigmoid(fe_xi_flip - fe_xi)))
        updates[bit_i_idx] = (bit_i_idx + 1) % self.n_visible
        return cost

    def get_reconstruction_cost(self, updates, pre_sigmoid_nv):
        return T.mean(T.sum(
            self.input * T.log(T.nnet.sigmoid(pre_sigmoid_nv))
            + (1 - self.input) * T.log(1 - T.nnet.sigmoid(pre_sigmoid_nv)), axis=1))


def sigmoid(a):
    return 1 / (1 + numpy.exp(-a))


def energy_twin(v, W, hbias, vbias):
    """The free energy, in NumPy."""
    return -v.dot(vbias) - numpy.log1p(numpy.exp(v.dot(W) + hbias)).sum(axis=1)


def twin(v, end, W, hbias, vbias, lr):
    """The parameters after a step of contrastive divergence whose chains end here, in NumPy."""
    h, h_end = sigmoid(v.dot(W) + hbias), sigmoid(end.dot(W) + hbias)
    return [W + lr * (v.T.dot(h) - end.T.dot(h_end)) / len(v),
            hbias + lr * (h - h_end).mean(axis=0), vbias + lr * (v - end).mean(axis=0)]


def check_step(rbm, batch, step, lr):
    """A step on a batch, which gives the cost and the ends of the chains, against NumPy."""
    before = [p.get_value() for p in rbm.params]
    found, end = step(0)
    assert set(numpy.unique(end)) <= {0., 1.} and end.std() > .2
    for p, expected in zip(rbm.params, twin(batch, end, *before, lr=lr)):
        assert numpy.allclose(p.get_value(), expected, rtol=1e-9, atol=1e-12), p
    flipped = numpy.array(batch)
    flipped[:, 0] = 1 - flipped[:, 0]  # the first step asks for the first pixel
    apart = energy_twin(flipped, *before) - energy_twin(batch, *before)
    expected = (batch.shape[1] * numpy.log(sigmoid(apart))).mean()
    assert abs(found - expected) < 1e-9 * abs(expected), (found, expected)


def train(batch_size=20, n_chains=20, epochs=10):
    train_x = load_data()[0][0]
    train_x.set_value(numpy.round(train_x.get_value()))
    n_images, n_pixels = train_x.get_value(borrow=True).shape
    n_batches, lr = n_images // batch_size, {64: .05, 784: .1}[n_pixels]
    index, x = T.lscalar(), T.matrix('x')
    rng = numpy.random.RandomState(123)
    theano_rng = RandomStreams(rng.randint(2 ** 30))
    persistent_chain = theano.shared(
        numpy.zeros((batch_size, 50), dtype=theano.config.floatX), borrow=True)
    rbm = RBM(input=x, n_visible=n_pixels, numpy_rng=rng, theano_rng=theano_rng)
    cost, updates = rbm.get_cost_updates(lr=lr, persistent=persistent_chain, k=5)
    train_rbm = theano.function(
        [index], [cost, rbm.chain_end], updates=updates, name='train_rbm',
        givens={x: train_x[index * batch_size: (index + 1) * batch_size]})
    check_step(rbm, train_x.get_value()[:batch_size], train_rbm, lr)
    costs = [train_rbm(i)[0] for _ in range(epochs) for i in range(n_batches)]
    # each is about one pixel
    means = [numpy.mean(costs[:n_pixels]), numpy.mean(costs[-n_pixels:])]
    print('pseudo-likelihood %.2f, then %.2f' % (means[0], means[-1]))
    return rbm, train_x, persistent_chain, means


def sample(rbm, start, steps=100):
    """Chains of Gibbs steps, each call going on where the last one ended."""
    vis_chain = theano.shared(numpy.asarray(start, dtype=theano.config.floatX))
    (
        [presig_hids, hid_mfs, hid_samples, presig_vis, vis_mfs, vis_samples],
        updates
    ) = theano.scan(rbm.gibbs_vhv, outputs_info=[None, None, None, None, None, vis_chain],
                    n_steps=steps, name="gibbs_vhv")
    updates.update({vis_chain: vis_samples[-1]})
    return theano.function([], [vis_mfs[-1], vis_samples[-1]], updates=updates,
                           name='sample_fn'), vis_chain


if __name__ == '__main__':
    rbm, train_x, chain, means = train()
    n_pixels = train_x.get_value().shape[1]
    (low, high), nearest = {64: ((-18, -12), .1), 784: ((-136, -90), .1)}[n_pixels]
    assert low < means[-1] < high, means
    assert set(numpy.unique(chain.get_value())) <= {0., 1.} and chain.get_value().std() > .2

    # the free energy, against the sum over all hidden states of a small machine
    small = RBM(n_visible=5, n_hidden=4)
    v = numpy.random.RandomState(0).randint(0, 2, (3, 5)).astype(theano.config.floatX)
    states = numpy.array([[(k >> j) & 1 for j in range(4)] for k in range(16)])
    W = small.W.get_value()
    expected = -numpy.log(numpy.exp(v.dot(W).dot(states.T)).sum(axis=1))
    assert numpy.allclose(small.free_energy(small.input).eval({small.input: v}), expected)

    # what the machine dreams of is likelier to it than noise, and is not far from the data
    fn, vis_chain = sample(rbm, train_x.get_value()[:20])
    mean, binary = fn()
    assert numpy.array_equal(vis_chain.get_value(), binary)
    again, _ = fn()
    assert not numpy.array_equal(mean, again)
    noise = numpy.random.RandomState(1).randint(0, 2, (20, n_pixels)).astype(theano.config.floatX)
    energy = theano.function([rbm.input], rbm.free_energy(rbm.input).mean())
    assert energy(binary) < energy(noise) - 20, (energy(binary), energy(noise))
    distance = abs(mean.mean(axis=0) - train_x.get_value().mean(axis=0)).mean()
    assert distance < nearest, distance
