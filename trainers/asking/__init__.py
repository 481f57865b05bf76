"""Chooses two videos to show to people next: pairs whose vote teaches most, and random ones as evidence.

``pool`` has the pairs that can be asked about, ``rules`` the expected value of a vote on each, and
``chooser`` the choice.

Evidence. The gate asks whether the model beats the critics' mean on the pairs of a typical task. A pair that
a rule chose is not a sample of those: the rule depends on the model's beliefs, so the rule alone could make a
model pass or fail. So a coin, tossed before anything else, sends a fraction of the votes to pairs that are
drawn independently of the model. Only those are evidence, for the gate, for calibration and for agreement
with the critics; every vote is learnt.

Evidence must come from tasks of which no vote was learnt, and a rule that prefers the least asked tasks would
get to all of them first. So the same fraction of the tasks, selected by a hash of their names, is reserved
for the coin: no rule chooses on them. They are a sample of the tasks, as nothing but the name decides.

The fraction rises with the number of votes. The first hundred votes teach most if a rule chooses them. Later
that gain fades, and evidence is what is scarce. The tasks that then become reserved are those that the rule
has not used so far, which are no random sample until new tasks come. The gate's bound still holds, because it
is about each bet given all that came before; the mean gain over these tasks may differ from that over all.

Weighting every vote by its inverse probability instead has the same effect, but costs more. The rule puts one
pair first, with a probability near 1 and so a weight near 0. All other pairs have the random draw's
probability. That leaves the random votes, each weighted by one over the fraction, which would force a
gambler's stakes to be smaller.
"""
