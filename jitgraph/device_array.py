"""(for a while)"""
import numpy as np
def is_foreign(x): return False
class DeviceArray:
    def __init__(self, header, device):
        self.header, self.device = header, device
    def __array__(self, dtype=None, copy=None):
        return self.device.download(self.header).astype(dtype or self.header.dtype)
    shape=property(lambda s:s.header.shape)
    dtype=property(lambda s:s.header.dtype)
    def __float__(self): return float(np.asarray(self))
