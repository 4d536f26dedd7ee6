"""Signals small enough to compute every score from by hand."""

from fractions import Fraction as F
from math import log

import numpy as np

# φ of five shadow models at two records, and which of them trained on each
TARGET = np.array([3.0, 0.5])
SHADOWS = np.array([[4.0, 3.0], [2.0, 0.0], [1.0, 2.0], [-1.0, 7.0], [3.0, 1.0]])
MASK = np.array([[1, 1], [1, 0], [0, 1], [0, 1], [0, 0]], dtype=bool)

# record 0: IN 4, 2; OUT 1, -1, 3. record 1: IN 3, 2, 7; OUT 0, 1.
COUNT_IN, COUNT_OUT = (2, 3), (3, 2)
MEAN_IN, MEAN_OUT = (F(3), F(4)), (F(1), F(1, 2))
MEDIAN_IN, MEDIAN_OUT = (F(3), F(3)), (F(1), F(1, 2))
SQUARES_IN, SQUARES_OUT = (F(2), F(14)), (F(8), F(1, 2))
# all IN signals 4, 2, 3, 2, 7; all OUT signals 1, -1, 3, 0, 1
CENTRE_IN, CENTRE_OUT = F(18, 5), F(4, 5)
SPREAD_IN, SPREAD_OUT = F(82, 5) - F(18, 5) ** 2, F(12, 5) - F(4, 5) ** 2


def phi(p: F) -> float:
    """The signal of a probability."""
    return log(p.numerator) - log(p.denominator - p.numerator)
