"""The page: where people vote on videos and see runs and model, as a server on this computer.

``server`` binds it together: what is known (``library`` of runs, ``ballots`` of votes), the next pair
(``asking``), films without a name (``films``), names that tell nothing (``links``), votes on their way
(``outlet``), who may ask (``guard``), and one module for each page.
"""
