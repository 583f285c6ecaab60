"""Habits of Python 2: print statements, xrange, integer division, cPickle, time.clock."""
import cPickle
import sys
import time
import numpy
import theano
import theano.tensor as T

N = 400
feats = 20
rng = numpy.random.RandomState(2)
D = (rng.randn(N, feats), rng.randint(size=N, low=0, high=2))
D[0][:, 0] += 2 * D[1]
training_steps = 300

x = T.matrix("x")
y = T.vector("y")
w = theano.shared(rng.randn(feats), name="w")
b = theano.shared(0., name="b")
print "Initial model:", w.get_value()[:2], b.get_value()

p_1 = 1 / (1 + T.exp(-T.dot(x, w) - b))
prediction = p_1 > 0.5
xent = -y * T.log(p_1) - (1 - y) * T.log(1 - p_1)
cost = xent.mean() + 0.01 * (w ** 2).sum()
gw, gb = T.grad(cost, [w, b])
train = theano.function(inputs=[x, y], outputs=[prediction, xent],
                        updates=((w, w - 0.1 * gw), (b, b - 0.1 * gb)))
predict = theano.function(inputs=[x], outputs=prediction)

start = time.clock()
for i in xrange(training_steps):
    pred, err = train(D[0], D[1])
print >>open('/dev/null', 'w'), time.clock() - start
right = (predict(D[0]) == D[1]).mean()
print "right: %.3f" % right, "openmp:", theano.config.openmp, sys.argv[1:]
assert right > .8, right

# halves of integers are integers
middle = N / 2
assert middle == 200 and isinstance(middle, int), middle
quarter = middle
quarter /= 3
assert quarter == 66
counts, weights = {'all': 9}, numpy.array([3., 4.])
same = weights
counts['all'] /= 2
weights /= 2
assert counts['all'] == 4 and same.tolist() == [1.5, 2.]
i = T.lscalar('i')
assert theano.function([i], i / 2)(7) == 3
assert theano.function([i], (i / 2.))(7) == 3.5
# an array, as Python 2 pickled it
old = cPickle.loads("cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\n"
                    "S'b'\ntRp4\n(I1\n(I1\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\n"
                    "I-1\nI0\ntbI00\nS'\\x00\\x00\\x00\\x00\\x00\\x00\\xf8?'\ntb.".encode('latin1'))
assert old == [1.5], old
assert numpy.float is float and numpy.product([2, 3]) == 6
state = cPickle.loads(cPickle.dumps({'w': w, 'train': train}, protocol=2))
state['train'](D[0], D[1])
assert (state['w'].get_value() != w.get_value()).any()
settings = {'a': 1}
assert settings.has_key('a') and settings.iteritems().next() == ('a', 1)
assert map(lambda v: v * 2, [1, 2]) == [2, 4] and (1 <> 2)
try:
    theano.function([x], y)
except Exception, e:
    print type(e).__name__
