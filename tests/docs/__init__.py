"""The documentation is true: what its pages say to type is run, and their links and tables are checked."""
