"""Which two videos to show to people next: those whose vote teaches most, and some at random as evidence.

Evidence: the gate asks whether the model beats the critics' mean on the pairs that a usual task offers. One
that was chosen because of what the model believes is no sample of those: a rule seeks the pairs on which the
model is unsure, so a model could pass or fail by the rule alone. So a coin, tossed before anything is
looked at, sends a share of the votes to pairs that are drawn whatever the model believes, a task and then a
pair of it, each as likely as any other. Those alone are evidence, for the gate, for calibration and for
agreement with the critics; every vote is learnt.
"""
