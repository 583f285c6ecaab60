"""What the steps of a compiled function cost: `f.profile(...)`.

**Times** are medians over runs of a program that reads a clock before and after each step.

**Bytes** are those that a step must read or write at least: an element that it needs several times
counts once, and so does a broadcast one; what it keeps for itself (the locals of a row nest) does
not count. Elements at computed places count each time, up to the whole array.

**Operations** are additions, multiplications, divisions, roots and extrema of floating-point
numbers; a multiply-add is two, a function such as exp as many as its expansion has, 2mnk a product.
Comparisons, selections, conversions and integers are none. So code that multiplies and adds all the
time reaches the limit of the machine, and other code cannot.

**The limit** of a step is the least time in which this machine moves its bytes, from and to the
smallest cache that holds them or memory, or does its operations, whichever takes longer.

**On a device** the times are the device's own, by events before and after each step, the limit is
what its memory copies and reads, and launches are counted. The simulated device has no clock: of a
program there only launches, bytes and operations are told.
"""

from jitgraph.profiling.measure import profile
from jitgraph.profiling.report import Profile, Step
from jitgraph.runtime.limits import Level, Limits, limits

__all__ = ["Level", "Limits", "Profile", "Step", "limits", "profile"]
