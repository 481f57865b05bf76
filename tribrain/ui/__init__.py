"""The web page where people vote on videos and see runs and the model; a server on this computer.

``library`` holds runs and ``ballots`` votes. ``asking`` chooses the next pair, ``films`` makes anonymous
copies of videos, ``links`` seals names, ``outlet`` publishes votes and ``guard`` checks requests. Each page
has its own module, and ``server`` connects everything.
"""
