"""Which two videos to show to people next: those whose vote teaches most, and some at random as evidence.

``pool`` has the pairs that can be asked about, ``rules`` what a vote on each is expected to teach, and
``chooser`` the choice.

Evidence. The gate asks whether the model beats the critics' mean on the pairs that a usual task offers. A
pair that a rule chose is no sample of those: it was chosen by what the model believes, so a model could
pass, or fail, by the rule alone. So a coin, tossed before anything is looked at, sends a share of the votes
to pairs that are drawn whatever the model believes. Those alone are evidence, for the gate, for calibration
and for agreement with the critics; every vote is learnt.

Evidence is of tasks that no vote was learnt of, and a rule that looks at the tasks that were asked least
would be at all of them first. So as large a share of the tasks, by a hash of their names, is kept for the
coin: no rule chooses on them. They are a sample of the tasks, as nothing but the name decides.

The share rises with the votes. The first hundred teach most where a rule chooses; later that gain fades, and
what is scarce is evidence. Tasks that join with it are those that the rule has left over so far, and no
sample until new ones come. The gate's bound holds for them, too, since it is about each bet given all that
came before; the mean gain over them may be another than over all tasks.

Weighting every vote by the inverse of its probability instead comes to the same, and costs more. The rule
puts one pair first, so all others have the random draw's probability, and that of the first is near 1: its
weight is near 0. What is left is the random votes, each with a weight of one over the share, by which a
gambler's stakes would have to be smaller.
"""
