"""The learner that is served while it learns: pairs in, bit-for-bit reproducible snapshots and states out."""
