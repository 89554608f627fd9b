"""LightGBM, whose threads wait without spinning.

They meet after every split. On a machine with other work to do, spinning until the last one comes
takes three times as long as sleeping. libgomp reads its environment once, when it is loaded.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from lightgbm import Booster, Dataset, early_stopping, train
from lightgbm.basic import LightGBMError

__all__ = ["Booster", "Dataset", "LightGBMError", "early_stopping", "train"]
